#ifndef CONSUMER_CORE_RESULT_H_
#define CONSUMER_CORE_RESULT_H_

// The consumer's own core/result.h: hotpath's headers live under hotpath/, so the two do not meet.
inline constexpr int kExpectedHits = 3;

#endif  // CONSUMER_CORE_RESULT_H_
