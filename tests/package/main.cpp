// A program that uses the installed library: a network without weights, and a photo.

#include <cstdint>
#include <cstdio>
#include <vector>

#include "base/error.h"
#include "base/version.h"
#include "engine/infer/predictor.h"
#include "models/network.h"

int main() {
  using namespace macadam;
  try {
    build_network({"no_such_network", 8, {}}, {1, 64, 64, 3});
    return 1;
  } catch (const InputError&) {  // thrown in the library, caught here
  }
  DeviceContext context;
  const Graph graph = build_network({"unet_mini", 8, {}}, {1, 64, 128, 3});
  Parameters parameters(graph.parameters(), context.stream, false);
  parameters.initialize(1);
  Predictor predictor(graph, parameters, context, {});
  const std::vector<uint8_t> photo(size_t{64} * 128 * 3, 100);
  const Prediction found = predictor.run(photo, 64, 128, 64, 128, false);
  std::printf("macadam %s: %zu pixels\n", version(), found.classes.size());
  return found.classes.size() == size_t{64} * 128 ? 0 : 1;
}
