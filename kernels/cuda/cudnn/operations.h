#pragma once
// A pass of a convolution in cuDNN's terms. Only cudnn_graph.cpp includes it.

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "kernels/cuda/cudnn/descriptor.h"
#include "kernels/cuda/cudnn/graph.h"

namespace macadam::cuda {

/// Identifiers of the tensors of every graph.
enum Uid : int64_t { uid_x = 1, uid_w, uid_y, uid_bias, uid_conv, uid_biased };

/// The operations of a pass: a convolution, and behind it bias and ReLU where the pass has them.
struct Operations {
  std::deque<Descriptor> parts;  // all that the operations refer to, and themselves
  std::vector<cudnnBackendDescriptor_t> list;

  const Descriptor& keep(Descriptor part) { return parts.emplace_back(std::move(part)); }
  void add(Descriptor operation) {
    operation.finalize();
    list.push_back(keep(std::move(operation)).raw());
  }
};

Operations operations_of(const ConvDesc& desc, ConvPass pass);

}  // namespace macadam::cuda
