#pragma once
// The registry of networks: each is a function that builds a graph for one input shape.

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "engine/graph.h"

namespace macadam {

/// Everything that decides a network's parameters.
struct NetworkSpec {
  std::string name = "unet_mini";
  int classes = 8;
  std::map<std::string, std::string> options;  // `network.KEY` of a config
};

/// An option of a network: its key, default and meaning.
struct NetworkOption {
  std::string_view key, default_value, description;
};

struct NetworkEntry {
  std::string_view name;
  std::string_view summary;
  int size_multiple;  // height and width must be multiples of it
  std::span<const NetworkOption> options;
  /// Requires checked options and an input whose size is a multiple of size_multiple.
  Graph (*build)(const NetworkSpec& spec, Shape input);
};

/// All networks, by name.
std::span<const NetworkEntry> networks();

/// Throws InputError with the nearest valid name when there is no such network.
const NetworkEntry& find_network(std::string_view name);

/// The graph of `spec` for an NxHxWxC input. Throws InputError naming the network, the offending
/// option or size, and what is accepted.
Graph build_network(const NetworkSpec& spec, Shape input);

/// The value of a floating-point option within [low, high]; throws InputError otherwise.
float float_option(const NetworkSpec& spec, const NetworkOption& option, float low, float high);

}  // namespace macadam
