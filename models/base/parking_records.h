#ifndef HOTPATH_MODELS_BASE_PARKING_RECORDS_H_
#define HOTPATH_MODELS_BASE_PARKING_RECORDS_H_

#include <cstdint>

#include "hotpath/core/base/parking.h"
#include "models/base/relacy_sync.h"

// What a model of anything with a ParkingLock inside includes first, and has as its first member:
//
//   struct TwoOwners : Model<TwoOwners, 2> {
//     ParkingRecords records;
//     BasicParkingLock<kOptions, RelacySync> lock;

namespace hotpath {

namespace model {

struct ParkingRecords {
  ParkingRecords() { current = this; }

  inline static ParkingRecords* current = nullptr;
  parking_internal::ThreadRecord<RelacySync> of[kMaxModelThreads];
};

}  // namespace model

template <>
struct parking_internal::ThreadRecords<model::RelacySync> {
  static ThreadRecord<model::RelacySync>& Of(uint32_t index) { return model::ParkingRecords::current->of[index]; }
};

}  // namespace hotpath

#endif  // HOTPATH_MODELS_BASE_PARKING_RECORDS_H_
