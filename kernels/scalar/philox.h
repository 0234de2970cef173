#pragma once
// Philox 4x32-10, a counter-based random generator: the value at a position is a pure function of
// (key, counter), so results do not depend on thread count, order or resumption.
// Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).

#include <cstdint>

#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

constexpr int kPhiloxRounds = 10;
constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u, kPhiloxMultiplier1 = 0xCD9E8D57u;
constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9u, kPhiloxWeyl1 = 0xBB67AE85u;

struct PhiloxBlock {
  uint32_t word[4];
};

/// `rounds` rounds on `counter` under the 64-bit key (key0, key1).
MACADAM_HD PhiloxBlock philox(PhiloxBlock counter, uint32_t key0, uint32_t key1,
                              int rounds = kPhiloxRounds) {
  for (int round = 0; round < rounds; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(kPhiloxMultiplier0) * counter.word[0];
    const uint64_t p1 = static_cast<uint64_t>(kPhiloxMultiplier1) * counter.word[2];
    const uint32_t hi0 = static_cast<uint32_t>(p0 >> 32), lo0 = static_cast<uint32_t>(p0);
    const uint32_t hi1 = static_cast<uint32_t>(p1 >> 32), lo1 = static_cast<uint32_t>(p1);
    counter = PhiloxBlock{{hi1 ^ counter.word[1] ^ key0, lo1, hi0 ^ counter.word[3] ^ key1, lo0}};
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
  return counter;
}

constexpr uint32_t kPhiloxMultiplierOfTwo = 0xD256D193u;

struct PhiloxPair {
  uint32_t word[2];
};

/// The generator's smaller sibling, Philox 2x32: half the bits for half the multiplications.
MACADAM_HD PhiloxPair philox(PhiloxPair counter, uint32_t key, int rounds = kPhiloxRounds) {
  for (int round = 0; round < rounds; ++round) {
    const uint64_t product = static_cast<uint64_t>(kPhiloxMultiplierOfTwo) * counter.word[0];
    counter = PhiloxPair{{static_cast<uint32_t>(product >> 32) ^ counter.word[1] ^ key,
                          static_cast<uint32_t>(product)}};
    key += kPhiloxWeyl0;
  }
  return counter;
}

/// The upper 24 bits as a float in [0, 1).
MACADAM_HD float uniform(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

}  // namespace macadam::scalar
