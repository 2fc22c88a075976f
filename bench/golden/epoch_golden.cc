#include "bench/base/announcement.h"
#include "bench/base/keep.h"
#include "bench/golden/golden.h"
#include "hotpath/core/epoch.h"

void hotpath::bench::AddGoldenPaths(GoldenPaths& paths) {
  struct Object : EpochDomain::Retiree {};
  paths.Add("the floor of a Guard: an announcement and its end", [] {
    const Announcement announcement;
    Keep(0);
  });
  paths.Add("EpochDomain::Pin and ~Guard", [domain = Isolated<EpochDomain>()] {
    const EpochDomain::Guard guard = domain->Pin();
    Keep(0);
  });
  paths.Add("EpochDomain::Pin and ~Guard, of the default domain", [] {
    const EpochDomain::Guard guard = EpochDomain::Default().Pin();
    Keep(0);
  });
  paths.Add("EpochDomain::Pin and ~Guard, twice, nested", [domain = Isolated<EpochDomain>()] {
    const EpochDomain::Guard outer = domain->Pin();
    const EpochDomain::Guard guard = domain->Pin();
    Keep(0);
  });
  paths.Add("EpochDomain::IsPinned", [domain = Isolated<EpochDomain>()] { Keep(domain->IsPinned()); });
  paths.Add("EpochDomain::Retire, a Retiree", [domain = Isolated<EpochDomain>()] { domain->Retire(new Object); });
}
