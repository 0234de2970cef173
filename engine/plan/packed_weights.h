#pragma once
// A network's weights in the layouts that layers read. Plans ask for what they need: a layout that
// several of them read is in memory once, and for as long as one of them lives.

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "engine/graph/layer.h"
#include "engine/plan/cast_list.h"
#include "engine/plan/parameters.h"

namespace macadam {

/// What one plan reads, by node of its graph. It packs those weights that it was the first to ask
/// for: many as casts, which are one launch, the others by one call each.
class PlanWeights {
 public:
  /// See PackedWeights::request(). `others`: of the same network, dtype and device.
  PlanWeights(const Graph& graph, std::span<const std::shared_ptr<Layer>> layers,
              const Parameters& parameters, Stream& stream,
              std::span<const std::shared_ptr<const PlanWeights>> others);

  /// Null: the layer reads none.
  void* of(size_t node) const { return parts_[node].data; }
  /// What of() points into, the same buffers in plans that share.
  const std::vector<std::shared_ptr<const Buffer>>& memory() const { return memory_; }
  /// Bytes of what this plan packs.
  size_t own_bytes() const { return own_bytes_; }

  const CastList& casts() const { return casts_; }
  /// Whether the node's weights are packed by pack().
  bool packs(size_t node) const { return parts_[node].packing == Packing::call; }
  /// `workspace`: workspace_bytes() of device memory.
  void pack(size_t node, void* workspace) const;
  size_t workspace_bytes() const { return workspace_bytes_; }

 private:
  /// How weights are packed here; those of another plan not at all.
  enum class Packing : uint8_t { none, cast, call };
  struct Part {
    std::shared_ptr<Layer> layer;  // which other plans compare theirs with
    std::vector<int> node_parameters{};
    std::vector<Tensor> parameters{};  // of what is packed here
    std::shared_ptr<const Buffer> memory{};
    void* data = nullptr;
    Packing packing = Packing::none;
  };
  /// The same weights in the layout that `layer` reads; null: not here.
  const Part* find(const Node& node, const Layer& layer) const;

  std::vector<Part> parts_;
  std::vector<std::shared_ptr<const Buffer>> memory_;
  size_t own_bytes_ = 0, workspace_bytes_ = 0;
  CastList casts_;
};

/// One network's, in one dtype on one device. What a plan packed is packed no more once it is gone:
/// parameters keep their values while plans share.
class PackedWeights {
 public:
  /// `parameters` outlive it and what is given out.
  PackedWeights(const Parameters& parameters, DType dtype, Device device)
      : parameters_(parameters), dtype_(dtype), device_(device) {}

  bool are_of(const Parameters& parameters, DType dtype, Device device) const {
    return &parameters_ == &parameters && dtype_ == dtype && device_ == device;
  }

  /// For a plan whose `layers` are those of graph.nodes(): what plans that are alive read already,
  /// where Layer::packs_like() says that it serves, and new memory for the rest, which the plan has
  /// to pack before another asks. One thread at a time; plans may die meanwhile.
  std::shared_ptr<const PlanWeights> request(const Graph& graph,
                                             std::span<const std::shared_ptr<Layer>> layers,
                                             Stream& stream);

 private:
  const Parameters& parameters_;
  DType dtype_;
  Device device_;
  std::vector<std::weak_ptr<const PlanWeights>> given_;
};

}  // namespace macadam
