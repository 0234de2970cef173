#pragma once
// How other tools name the tensors of Macadam's networks.

#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "models/network.h"
#include "models/weights/weight_file.h"

namespace macadam {

/// One tool's way to write a network's weights.
struct WeightScheme {
  std::string name;                           // "torchvision", for people
  bool keras = false;                         // kernels are HWIO, dense layers {in, out}
  std::map<std::string, std::string> source;  // parameter -> name in the file, without a prefix
  /// Network options that make the network compute what the tool computes.
  std::map<std::string, std::string> options;
  Normalization normalization;               // that the tool's pretrained weights expect
  std::set<std::string, std::less<>> zeros;  // parameters that the tool lacks: as if they were 0
};

/// Every way in which weights for `entry` may be written, its own first. `graph` is a network of
/// the entry; `tensors` are those of the file, in its order (image-segmentation-keras numbers its
/// layers anew in every process, so that only their order tells which is which).
std::vector<WeightScheme> weight_schemes(const NetworkEntry& entry, const Graph& graph,
                                         std::span<const WeightTensor> tensors);

/// The parts of a network that files hold or lack as a whole.
enum class WeightPart : uint8_t { encoder, decoder, head };
/// An auxiliary head is of the head.
WeightPart part_of(const NetworkEntry& entry, const ParameterSpec& parameter);

}  // namespace macadam
