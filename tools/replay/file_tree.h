#ifndef HOTPATH_TOOLS_REPLAY_FILE_TREE_H_
#define HOTPATH_TOOLS_REPLAY_FILE_TREE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "tools/replay/record_fields.h"

namespace hotpath::replay {

// One file of the recorded machine, as far as the trace shows it.  "Original" means before the first call.
struct Inode {
  using Name = std::pair<Inode*, std::string>;  // directory and name in it

  uint32_t format = 0;           // S_IFMT bits; 0 until shown
  bool original = false;         // was there before the first call
  bool created_blindly = false;  // by O_CREAT of a name nobody had asked about: it may have been there already

  // What the original looked like.  Evidence counts only until the trace changes the attribute.
  std::optional<uint32_t> permissions, uid, gid;
  std::optional<uint64_t> rdev;
  std::optional<int64_t> size;
  int64_t least_size = 0;  // the furthest byte that was read
  std::optional<int64_t> links;
  bool permissions_changed = false, owner_changed = false;
  bool resized = false;      // written, truncated or grown
  bool shrunk = false;       // truncated, or written where we cannot tell
  int64_t written_end = 0;   // the furthest byte written
  int64_t link_changes = 0;  // names (of a directory: subdirectories) added less removed
  bool executed = false;
  // What a process without privileges was allowed (rwx as in S_IRWXO; `owned`: did what only an owner may) or refused.
  uint32_t needed = 0, denied = 0;
  bool owned = false;
  std::optional<size_t> mode_unknown_since;  // record of a setxattr, which may have changed the permissions

  std::string target;           // of a symbolic link; empty until shown or invented
  int64_t target_length = -1;   // -1 until shown
  std::vector<Name> originals;  // its names before the first call

  // Directories.  An entry mapped to null is known to be absent.
  std::map<std::string, Inode*> entries;
  Inode* parent = nullptr;  // where the latest name is, of any inode
  std::string name;
  bool complete = false;  // every entry is known: created by the trace, or listed

  bool IsDirectory() const;
  bool IsLink() const;
};

// What earlier passes over the same trace learned.
struct FileKnowledge {
  std::set<std::string> directories;            // canonical paths that are directories, not links
  std::map<std::string, std::string> links;     // canonical path of a symbolic link to its target
  std::map<std::string, int64_t> link_lengths;  // where only the length was shown
  std::set<std::string> existed;                // opened with O_CREAT, but turned out to be there already
  bool grew = false;                            // since the flag was last cleared: another pass will see more
};

// The recorded file system: follows what the calls did to it, and collects what it must have been like before.
class FileTree {
 public:
  struct Place {
    Inode* directory = nullptr;  // null: the path does not lead anywhere
    std::string name;            // empty: the path is the directory itself
    Inode* inode = nullptr;      // null: not there, or nothing is known
    bool known_absent = false;
    bool wants_directory = false;  // the path ended in a slash
  };

  explicit FileTree(FileKnowledge& knowledge);

  Inode* root() { return root_; }

  // Follows `path` without drawing conclusions.
  Place Find(Inode* base, absl::string_view path, bool follow);
  // Follows `path` knowing that its directory part exists: unknown directories on the way become original ones.
  Place Reach(Inode* base, absl::string_view path, bool follow);
  // `path` led to something: makes it an original if nothing is known.  `resolved`, if not empty, is where it led.
  Inode* Exists(Inode* base, absl::string_view path, bool follow, uint32_t format, absl::string_view resolved = {});
  // `path` led nowhere.
  void Absent(Inode* base, absl::string_view path, bool follow);

  Inode* Create(const Place& place, uint32_t format, uint32_t permissions);
  void Link(const Place& place, Inode* inode);
  void Unlink(const Place& place);
  void Rename(const Place& from, const Place& to, bool exchange);

  void ShowStat(Inode* inode, const ShownStat& stat);
  void ShowSize(Inode* inode, int64_t size);
  void ShowAtLeast(Inode* inode, int64_t size);  // a read got as far as `size`
  void ShowLink(Inode* inode, int64_t length, absl::string_view text, bool truncated);
  void Wrote(Inode* inode, int64_t from, int64_t to);  // from < 0: somewhere
  void Resized(Inode* inode);                          // truncated or allocated

  // A complete listing: names where shown, otherwise how many entries and bytes ("." and ".." included).
  void Listed(Inode* directory, const ShownDirents& all, int64_t bytes);

  // Where a symbolic link leads; invented, with the right length, if the trace does not tell.
  const std::string& TargetOf(Inode* link);

  // The path an inode had before the first call; empty if it was not reachable.
  std::string OriginalPath(const Inode* inode) const;
  std::string CurrentPath(const Inode* inode) const;

  // Fills listings whose names were not shown with invented ones; call once, after the last step.  Directories whose
  // listing cannot be explained go to `unexplained`.
  void InventEntries(std::set<const Inode*>& unexplained);

  const std::vector<std::unique_ptr<Inode>>& inodes() const { return inodes_; }
  // By record of a setxattr: the permissions that the next stat of the same file showed.
  const std::map<size_t, uint32_t>& modes_after() const { return modes_after_; }
  size_t discoveries() const { return discoveries_; }  // how many facts about the original state were shown so far

 private:
  struct Listing {
    Inode* directory;
    size_t count;
    int64_t bytes;
    std::set<std::string> gone;     // original names that had been removed by then
    std::set<std::string> created;  // names made by the trace that were there
  };

  Inode* New();
  Inode* AddOriginal(Inode* directory, const std::string& name, uint32_t format);
  Place Walk(Inode* base, absl::string_view path, bool follow, bool assume, int depth);
  void InferLinks(Inode* base, absl::string_view path, absl::string_view resolved);
  Inode* AddLink(Inode* directory, const std::string& name, absl::string_view resolved);
  std::string StandsFor(const std::string& canonical, const std::vector<std::string>& rest,
                        absl::string_view resolved) const;
  Inode* Identify(Inode* inode, uint64_t dev, uint64_t ino);

  FileKnowledge& knowledge_;
  std::vector<std::unique_ptr<Inode>> inodes_;
  Inode* root_;
  std::map<std::pair<uint64_t, uint64_t>, Inode*> by_number_;
  std::map<Inode*, std::set<std::string>> removed_;  // original names removed so far
  std::set<std::string> absent_;                     // paths that led nowhere, for discoveries()
  std::vector<Listing> listings_;
  std::map<size_t, uint32_t> modes_after_;
  size_t discoveries_ = 0;
};

// "a/b" for {"a", "b"}; the empty components and "." are dropped, ".." is kept.
std::vector<std::string> Components(absl::string_view path);
std::string JoinPath(absl::string_view directory, absl::string_view name);

}  // namespace hotpath::replay

#endif  // HOTPATH_TOOLS_REPLAY_FILE_TREE_H_
