// A file of tuned plans from anywhere: parsing ends with plans or with none, never with an error.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "kernels/cuda/cudnn/plan_cache.h"

/// The first byte chooses: the rest is a file, or what follows the head of a sound one.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using macadam::cuda::parse_tuned_plans;
  using macadam::cuda::to_text;
  constexpr const char* device = "a GPU";
  if (size == 0) return 0;
  std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] % 4 != 0) text = to_text({}, device) + text;

  const auto plans = parse_tuned_plans(text, device);
  if (!plans) return 0;
  // What parses is written in a form that parses to the same.
  if (parse_tuned_plans(to_text(*plans, device), device) != plans) std::abort();
  return 0;
}
