#include "synth/noise.h"

#include "synth/random.h"

namespace macadam::synth {

const NoiseTable& noise_table() {
  static const NoiseTable table = [] {
    NoiseTable values;
    Random random(0x6E6F697365ull, 0);
    for (float& value : values) value = random.uniform();
    return values;
  }();
  return table;
}

}  // namespace macadam::synth
