#include "tools/replay/file_tree.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <deque>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace hotpath::replay {
namespace {

constexpr int kMaxLinks = 40;          // as Linux: a longer chain is a loop
constexpr size_t kShortestEntry = 24;  // of getdents64: 19 bytes, a name of one to four, and a zero
constexpr size_t kLongestName = 255;   // whose entry has 280 bytes

std::string RelativePath(absl::string_view from, absl::string_view to) {
  const std::vector<std::string> a = Components(from), b = Components(to);
  size_t same = 0;
  while (same < a.size() && same < b.size() && a[same] == b[same]) ++same;
  std::vector<std::string> parts(a.size() - same, "..");
  parts.insert(parts.end(), b.begin() + static_cast<ptrdiff_t>(same), b.end());
  return absl::StrJoin(parts, "/");
}

bool EndsWith(const std::vector<std::string>& whole, const std::vector<std::string>& tail) {
  return whole.size() >= tail.size() && std::equal(tail.rbegin(), tail.rend(), whole.rbegin());
}

std::string AbsolutePath(const std::vector<std::string>& parts, size_t count) {
  return absl::StrCat("/", absl::StrJoin(parts.begin(), parts.begin() + static_cast<ptrdiff_t>(count), "/"));
}

}  // namespace

std::vector<std::string> Components(absl::string_view path) {
  std::vector<std::string> parts;
  for (absl::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (part != ".") parts.emplace_back(part);
  }
  return parts;
}

std::string JoinPath(absl::string_view directory, absl::string_view name) {
  return absl::StrCat(directory, absl::EndsWith(directory, "/") ? "" : "/", name);
}

bool Inode::IsDirectory() const { return S_ISDIR(format); }
bool Inode::IsLink() const { return S_ISLNK(format); }

FileTree::FileTree(FileKnowledge& knowledge) : knowledge_(knowledge), root_(New()) {
  root_->format = S_IFDIR;
  root_->original = true;
  root_->parent = root_;
}

Inode* FileTree::New() {
  inodes_.push_back(std::make_unique<Inode>());
  return inodes_.back().get();
}

std::string FileTree::CurrentPath(const Inode* inode) const {
  if (inode == root_) return "/";
  if (inode->parent == nullptr) return "";
  return JoinPath(CurrentPath(inode->parent), inode->name);
}

std::string FileTree::OriginalPath(const Inode* inode) const {
  if (inode == root_) return "/";
  if (inode->originals.empty()) return "";
  const std::string directory = OriginalPath(inode->originals[0].first);
  return directory.empty() ? "" : JoinPath(directory, inode->originals[0].second);
}

Inode* FileTree::AddOriginal(Inode* directory, const std::string& name, uint32_t format) {
  Inode* inode = New();
  inode->format = format;
  inode->original = true;
  inode->originals.emplace_back(directory, name);
  inode->parent = directory;
  inode->name = name;
  directory->entries[name] = inode;
  ++discoveries_;
  return inode;
}

const std::string& FileTree::TargetOf(Inode* link) {
  if (!link->target.empty()) return link->target;
  if (auto it = knowledge_.links.find(CurrentPath(link)); it != knowledge_.links.end()) {
    link->target = it->second;
  } else {  // nobody knows: a name of the right length that nothing else has
    link->target = absl::StrCat(inodes_.size(), "~");
    link->target.resize(link->target_length > 0 ? static_cast<size_t>(link->target_length) : 12, '~');
  }
  return link->target;
}

FileTree::Place FileTree::Walk(Inode* base, absl::string_view path, bool follow, bool assume, int depth) {
  Place place;
  Inode* here = absl::StartsWith(path, "/") || base == nullptr ? root_ : base;
  const bool wants_directory = absl::EndsWith(path, "/") || absl::EndsWith(path, "/.");
  std::vector<std::string> listed = Components(path);
  std::deque<std::string> parts(listed.begin(), listed.end());
  while (!parts.empty()) {
    const std::string part = std::move(parts.front());
    parts.pop_front();
    if (part == "..") {
      here = here->parent;
      continue;
    }
    auto it = here->entries.find(part);
    if (it == here->entries.end() && !here->complete && here->original) {
      const std::string canonical = JoinPath(CurrentPath(here), part);
      if (knowledge_.links.contains(canonical)) {
        AddOriginal(here, part, S_IFLNK);
        it = here->entries.find(part);
      } else if (assume && !parts.empty()) {
        AddOriginal(here, part, S_IFDIR);
        it = here->entries.find(part);
      }
    }
    Inode* next = it == here->entries.end() ? nullptr : it->second;
    const bool last = parts.empty();
    if (next == nullptr) {
      const bool absent = it != here->entries.end() || here->complete || !here->original;
      if (last) return {here, part, nullptr, absent, wants_directory};
      place.known_absent = absent;
      return place;
    }
    if (next->IsLink() && (!last || follow || wants_directory)) {
      if (++depth > kMaxLinks) return place;
      const std::string target = TargetOf(next);
      std::vector<std::string> spliced = Components(target);
      parts.insert(parts.begin(), spliced.begin(), spliced.end());
      if (absl::StartsWith(target, "/")) here = root_;
      if (parts.empty()) break;
      continue;
    }
    if (last) return {here, part, next, false, wants_directory};
    if (next->format == 0 && assume) {
      next->format = S_IFDIR;
      ++discoveries_;
    }
    if (next->format != 0 && !next->IsDirectory()) return place;
    here = next;
  }
  return {here, "", here, false, wants_directory};
}

FileTree::Place FileTree::Find(Inode* base, absl::string_view path, bool follow) {
  return Walk(base, path, follow, /*assume=*/false, 0);
}

FileTree::Place FileTree::Reach(Inode* base, absl::string_view path, bool follow) {
  return Walk(base, path, follow, /*assume=*/true, 0);
}

Inode* FileTree::AddLink(Inode* directory, const std::string& name, absl::string_view resolved) {
  const std::string here = CurrentPath(directory);
  const std::string path = JoinPath(here, name);
  const std::string relative = RelativePath(here, resolved);
  const std::string candidates[] = {relative, std::string(resolved)};
  // Links stay relative inside their directory and at the top, as distributions make them; a shown length decides.
  std::string target = directory == root_ || relative.find('/') == std::string::npos ? candidates[0] : candidates[1];
  if (auto it = knowledge_.link_lengths.find(path); it != knowledge_.link_lengths.end()) {
    for (const std::string& candidate : candidates) {
      if (static_cast<int64_t>(candidate.size()) == it->second) target = candidate;
    }
  }
  if (knowledge_.links.emplace(path, target).second) knowledge_.grew = true;
  auto it = directory->entries.find(name);
  Inode* link = it == directory->entries.end() ? AddOriginal(directory, name, S_IFLNK) : it->second;
  if (link->IsLink() && link->target.empty()) link->target = target;
  return link;  // taken for something else earlier: the next pass knows better
}

// Where a path that led to `resolved` must have left the directory tree: what /lib stands for if /lib/x/y led to
// /usr/lib/x/y, or to /usr/lib/x/y.1.  Itself, if it need not have been a link.
std::string FileTree::StandsFor(const std::string& canonical, const std::vector<std::string>& rest,
                                absl::string_view resolved) const {
  if (rest.empty()) return std::string(resolved);
  if (knowledge_.directories.contains(canonical)) return canonical;
  if (std::find(rest.begin(), rest.end(), "..") != rest.end()) return canonical;
  const std::vector<std::string> goal = Components(resolved);
  if (EndsWith(goal, rest)) return AbsolutePath(goal, goal.size() - rest.size());
  const std::vector<std::string> directories(rest.begin(), rest.end() - 1);
  const std::vector<std::string> goal_directory(goal.begin(), goal.empty() ? goal.end() : goal.end() - 1);
  if (!directories.empty() && EndsWith(goal_directory, directories)) {
    return AbsolutePath(goal, goal_directory.size() - directories.size());
  }
  return canonical;
}

void FileTree::InferLinks(Inode* base, absl::string_view path, absl::string_view resolved) {
  Inode* here = absl::StartsWith(path, "/") || base == nullptr ? root_ : base;
  std::vector<std::string> parts = Components(path);
  std::reverse(parts.begin(), parts.end());  // the next component is at the back
  for (int links = 0; !parts.empty() && links < kMaxLinks;) {
    const std::string part = parts.back();
    if (part == "..") {
      here = here->parent;
      parts.pop_back();
      continue;
    }
    const std::string canonical = JoinPath(CurrentPath(here), part);
    const std::vector<std::string> rest(parts.rbegin() + 1, parts.rend());
    auto it = here->entries.find(part);
    Inode* next = it == here->entries.end() ? nullptr : it->second;
    if (next == nullptr) {
      if (it != here->entries.end() || here->complete || !here->original) return;
      if (knowledge_.links.contains(canonical)) {
        next = AddOriginal(here, part, S_IFLNK);
      } else if (const std::string target = StandsFor(canonical, rest, resolved); target != canonical) {
        next = AddLink(here, part, target);
      } else if (rest.empty()) {
        return;
      } else {
        next = AddOriginal(here, part, S_IFDIR);
      }
    } else if (next->original && !next->IsLink() && rest.empty() && canonical != resolved &&
               !knowledge_.directories.contains(canonical)) {
      AddLink(here, part, resolved);  // seen before as what it leads to
      return;
    } else if (next->original && next->IsLink() && next->target.empty() && !knowledge_.links.contains(canonical)) {
      if (const std::string target = StandsFor(canonical, rest, resolved); target != canonical) {
        AddLink(here, part, target);
      }
    }
    parts.pop_back();
    if (!next->IsLink()) {
      here = next;
      continue;
    }
    ++links;
    const std::string target = TargetOf(next);
    std::vector<std::string> spliced = Components(target);
    parts.insert(parts.end(), spliced.rbegin(), spliced.rend());
    if (absl::StartsWith(target, "/")) here = root_;
  }
}

Inode* FileTree::Exists(Inode* base, absl::string_view path, bool follow, uint32_t format, absl::string_view resolved) {
  if (!resolved.empty()) InferLinks(base, path, resolved);
  Place place = Reach(base, path, follow);
  if (place.directory == nullptr) return nullptr;
  if (place.wants_directory) format = S_IFDIR;
  if (place.inode == nullptr) {
    if (place.known_absent) return nullptr;
    return AddOriginal(place.directory, place.name, format);
  }
  if (place.inode->format == 0 && format != 0) {
    place.inode->format = format;
    ++discoveries_;
  }
  return place.inode;
}

void FileTree::Absent(Inode* base, absl::string_view path, bool follow) {
  Place place = Find(base, path, follow);
  if (place.inode != nullptr || place.known_absent) return;
  if (place.directory != nullptr) {
    place.directory->entries[place.name] = nullptr;
    ++discoveries_;
    return;
  }
  const std::string key = absl::StrCat(CurrentPath(base == nullptr ? root_ : base), "\n", path);
  if (absent_.insert(key).second) ++discoveries_;
}

Inode* FileTree::Create(const Place& place, uint32_t format, uint32_t permissions) {
  if (place.directory == nullptr || place.name.empty()) return nullptr;
  Inode* inode = New();
  inode->format = format;
  inode->permissions = permissions;
  inode->size = 0;
  inode->complete = true;
  inode->created_blindly = !place.known_absent && place.directory->original && !place.directory->complete;
  inode->parent = place.directory;
  inode->name = place.name;
  place.directory->entries[place.name] = inode;
  if (S_ISDIR(format)) ++place.directory->link_changes;
  return inode;
}

void FileTree::Link(const Place& place, Inode* inode) {
  if (place.directory == nullptr || place.name.empty()) return;
  place.directory->entries[place.name] = inode;
  inode->parent = place.directory;
  inode->name = place.name;
  if (inode->IsDirectory()) {
    ++place.directory->link_changes;
  } else {
    ++inode->link_changes;
  }
}

void FileTree::Unlink(const Place& place) {
  if (place.directory == nullptr || place.name.empty() || place.inode == nullptr) return;
  place.directory->entries[place.name] = nullptr;
  const auto& names = place.inode->originals;
  if (std::find(names.begin(), names.end(), Inode::Name(place.directory, place.name)) != names.end()) {
    removed_[place.directory].insert(place.name);
  }
  if (place.inode->IsDirectory()) {
    --place.directory->link_changes;
    return;
  }
  --place.inode->link_changes;
  if (place.inode->parent != place.directory || place.inode->name != place.name) return;
  for (const auto& [directory, name] : names) {  // the path to show is another of its names, if one is left
    auto it = directory->entries.find(name);
    if (it == directory->entries.end() || it->second != place.inode) continue;
    place.inode->parent = directory;
    place.inode->name = name;
    return;
  }
}

void FileTree::Rename(const Place& from, const Place& to, bool exchange) {
  if (from.inode == nullptr || to.directory == nullptr || from.inode == to.inode) return;
  Inode* other = to.inode;
  if (other != nullptr) Unlink(to);
  Unlink(from);
  Link(to, from.inode);
  if (exchange && other != nullptr) Link(from, other);
}

Inode* FileTree::Identify(Inode* inode, uint64_t dev, uint64_t ino) {
  Inode*& known = by_number_[{dev, ino}];
  if (known == nullptr || known == inode) {
    known = inode;
    return inode;
  }
  auto it = known->parent == nullptr ? root_->entries.end() : known->parent->entries.find(known->name);
  const bool alive = known->parent != nullptr && it != known->parent->entries.end() && it->second == known;
  if (!alive || !known->original || !inode->original || inode->IsDirectory() || known->IsDirectory()) {
    known = inode;  // the number was free again, or there is nothing to join
    return inode;
  }
  for (const auto& [directory, name] : inode->originals) {  // two names of one file
    auto entry = directory->entries.find(name);
    if (entry == directory->entries.end() || entry->second != inode) continue;
    entry->second = known;
    known->originals.emplace_back(directory, name);
  }
  inode->originals.clear();
  ++discoveries_;
  return known;
}

void FileTree::ShowStat(Inode* inode, const ShownStat& stat) {
  if (inode == nullptr) return;
  if (stat.dev && stat.ino) inode = Identify(inode, *stat.dev, *stat.ino);
  auto learn = [&](auto& slot, auto value) {
    if (slot.has_value()) return;
    slot = value;
    ++discoveries_;
  };
  if (stat.mode) {
    const uint32_t format = *stat.mode & S_IFMT, permissions = *stat.mode & 07777;
    if (inode->mode_unknown_since) {
      modes_after_[*inode->mode_unknown_since] = permissions;
      inode->mode_unknown_since.reset();
    }
    if (inode->format == 0) {
      inode->format = format;
      ++discoveries_;
    }
    if (inode->created_blindly && !inode->permissions_changed && inode->permissions != permissions) {
      if (knowledge_.existed.insert(CurrentPath(inode)).second) knowledge_.grew = true;
    }
    if (inode->original && !inode->permissions_changed) learn(inode->permissions, permissions);
  }
  if (inode->original) {
    if (stat.uid && !inode->owner_changed) learn(inode->uid, *stat.uid);
    if (stat.gid && !inode->owner_changed) learn(inode->gid, *stat.gid);
    if (stat.rdev && (S_ISCHR(inode->format) || S_ISBLK(inode->format))) learn(inode->rdev, *stat.rdev);
    if (stat.nlink) learn(inode->links, int64_t{*stat.nlink} - inode->link_changes);
  }
  if (stat.size && S_ISREG(inode->format)) ShowSize(inode, *stat.size);
  if (stat.size && S_ISLNK(inode->format)) ShowLink(inode, *stat.size, {}, /*truncated=*/true);
}

void FileTree::ShowSize(Inode* inode, int64_t size) {
  if (inode == nullptr) return;
  if (inode->created_blindly && !inode->resized && size > 0) {
    if (knowledge_.existed.insert(CurrentPath(inode)).second) knowledge_.grew = true;
  }
  if (!inode->original || inode->size) return;
  if (inode->resized && (inode->shrunk || size <= inode->written_end)) return;
  inode->size = size;
  ++discoveries_;
}

void FileTree::ShowAtLeast(Inode* inode, int64_t size) {
  if (inode == nullptr || inode->resized) return;
  if (inode->created_blindly && size > 0 && knowledge_.existed.insert(CurrentPath(inode)).second) {
    knowledge_.grew = true;
  }
  if (!inode->original || inode->size || size <= inode->least_size) return;
  inode->least_size = size;
  ++discoveries_;
}

void FileTree::ShowLink(Inode* inode, int64_t length, absl::string_view text, bool truncated) {
  if (inode == nullptr || !inode->original) return;
  if (inode->format == 0) {
    inode->format = S_IFLNK;
    ++discoveries_;
  }
  const std::string path = CurrentPath(inode);
  if (!truncated) {
    auto [it, fresh] = knowledge_.links.emplace(path, text);
    if (fresh || it->second != text) {
      it->second = std::string(text);
      knowledge_.grew = true;
    }
    if (inode->target.empty()) {
      inode->target = std::string(text);
      ++discoveries_;
    }
  } else if (inode->target_length < 0) {
    inode->target_length = length;
    if (knowledge_.link_lengths.emplace(path, length).second) knowledge_.grew = true;
    ++discoveries_;
  }
}

void FileTree::Wrote(Inode* inode, int64_t from, int64_t to) {
  if (inode == nullptr) return;
  inode->resized = true;
  if (from < 0) {
    inode->shrunk = true;
  } else {
    inode->written_end = std::max(inode->written_end, to);
  }
}

void FileTree::Resized(Inode* inode) {
  if (inode == nullptr) return;
  inode->resized = true;
  inode->shrunk = true;
}

void FileTree::Listed(Inode* directory, const ShownDirents& all, int64_t bytes) {
  if (directory == nullptr || !directory->original || directory->complete) return;
  if (all.named) {
    for (const ShownDirent& entry : all.entries) {
      if (entry.name == "." || entry.name == "..") continue;
      const uint32_t format = entry.type == DT_UNKNOWN ? 0 : DTTOIF(entry.type);
      auto it = directory->entries.find(entry.name);
      if (it == directory->entries.end()) {
        AddOriginal(directory, entry.name, format);
      } else if (it->second != nullptr && it->second->format == 0) {
        it->second->format = format;
      }
    }
    directory->complete = true;
    ++discoveries_;
    return;
  }
  for (const Listing& earlier : listings_) {
    if (earlier.directory == directory) return;
  }
  Listing listing{directory, all.count, bytes, removed_[directory], {}};
  for (const auto& [name, inode] : directory->entries) {
    if (inode == nullptr) continue;
    const auto& names = inode->originals;
    if (std::find(names.begin(), names.end(), Inode::Name(directory, name)) == names.end())
      listing.created.insert(name);
  }
  listings_.push_back(std::move(listing));
  ++discoveries_;
}

void FileTree::InventEntries(std::set<const Inode*>& unexplained) {
  std::map<const Inode*, std::set<std::string>> originals;  // by directory
  for (const auto& inode : inodes_) {
    for (const auto& [directory, name] : inode->originals) originals[directory].insert(name);
  }
  for (const Listing& listing : listings_) {
    std::set<std::string> present = listing.created;
    for (const std::string& name : originals[listing.directory]) {
      if (!listing.gone.contains(name)) present.insert(name);
    }
    int64_t bytes = listing.bytes - 2 * static_cast<int64_t>(kShortestEntry);
    for (const std::string& name : present) bytes -= static_cast<int64_t>((19 + name.size() + 1 + 7) / 8 * 8);
    int64_t missing = static_cast<int64_t>(listing.count) - 2 - static_cast<int64_t>(present.size());
    const bool explained = missing >= 0 && bytes % 8 == 0 && bytes >= missing * static_cast<int64_t>(kShortestEntry) &&
                           bytes <= missing * static_cast<int64_t>(kLongestName + 25);
    if (!explained) {
      unexplained.insert(listing.directory);
      continue;
    }
    for (int serial = 0; missing > 0; --missing) {
      const int64_t entry = bytes / missing / 8 * 8;
      std::string name;
      do {
        name = absl::StrCat("~", serial++);
        name.resize(std::min(static_cast<size_t>(entry) - 20, kLongestName), '~');
      } while (originals[listing.directory].contains(name) || listing.created.contains(name));
      AddOriginal(listing.directory, name, 0);
      bytes -= entry;
    }
    listing.directory->complete = true;
  }
}

}  // namespace hotpath::replay
