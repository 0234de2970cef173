#pragma once
// What networks cost on a device, beside each other.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/tensor.h"
#include "models/network.h"
#include "report/table.h"

namespace macadam {

struct NetworkCost {
  NetworkSpec spec;
  int64_t parameters = 0;
  int64_t macs = 0;            // of an image, without what training alone has
  size_t bytes = 0;            // on the device: activations, packed weights
  double milliseconds = 0;     // of a photo, from bytes to mask
  std::string_view published;  // NetworkEntry::published
};

/// Predicts photos of height x width one by one with each network, whose weights are random, in
/// turns: the medians of `rounds`. Throws InputError for a network that there is not, or that does
/// not take the size.
std::vector<NetworkCost> network_costs(std::span<const NetworkSpec> specs, int height, int width,
                                       Device device, DType dtype, int rounds);

/// A row a network.
Table costs_table(std::span<const NetworkCost> costs);
/// The same, not rounded.
nlohmann::ordered_json costs_json(std::span<const NetworkCost> costs);

}  // namespace macadam
