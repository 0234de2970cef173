#pragma once
// A graph compiled for one batch, size, dtype, mode and device: layers bound to tensors in one
// arena, and the list of calls that run them. Nothing allocates after construction.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/to_size.h"
#include "engine/graph/graph.h"
#include "engine/graph/layer.h"
#include "engine/plan/arena.h"
#include "engine/plan/packed_weights.h"
#include "engine/plan/parameters.h"
#include "kernels/device.h"
#include "kernels/ops.h"
#include "kernels/timeline.h"

namespace macadam {

enum class Mode : uint8_t { train, infer };

struct PlanOptions {
  Mode mode = Mode::infer;
  DType dtype = DType::f32;          // of activations and their gradients
  std::optional<LossDesc> loss;      // train: required; infer: set it to measure a validation loss
  uint64_t seed = 0;                 // of dropout
  const StepState* state = nullptr;  // device memory; train only
  /// Asked once for packed weights, so that plans share them: replicas on several streams, and
  /// other batch and image sizes. Of the plan's parameters, dtype and device. Null: the plan shares
  /// none. Inference only.
  PackedWeights* weights = nullptr;
  /// Asked once for the arena's memory, so that plans which never run at once share it: what one
  /// wrote is gone when another runs. A plan with a padded input, which is cleared only once, does
  /// not ask. Null: the plan shares none. Inference only.
  ArenaMemory* arena = nullptr;
  /// By parameter; empty: none. No gradient is computed for these, nor through what only they make.
  std::vector<bool> frozen;
  /// Whether tensors are padded for tensor cores (pad_channels in rewrite.h); none: on CUDA, in 16
  /// bits. Nothing outside the plan sees it, but that input() and output() are slices.
  std::optional<bool> pad_channels;
  /// How many inputs there are, for batches that are prepared while another is read; none: two when
  /// training on CUDA, else one.
  std::optional<int> inputs;
  bool keeps_scores = false;  // output() stays after loss(), until backward(); train only
};

/// Bytes, known before anything runs.
struct PlanMemory {
  size_t arena = 0;   // activations, gradients, workspaces
  size_t peak = 0;    // the most bytes of those alive at once: the arena's lower bound
  size_t packed = 0;  // weights in the device's layout, without those that another plan packs; and
                      // the gradients of weights that are cast to fp32 after a backward pass
};

/// One line of `macadam info`.
struct PlanLayer {
  std::string name, kind, implementation;
  Shape output;
  int64_t parameters = 0;
  int64_t macs = 0;
};

/// A part of a step that calls every layer once.
enum class Pass : uint8_t { pack, forward, backward };

/// One call of a pass, for profiles.
struct PlanCall {
  std::string name, kind;
  int layer = -1;     // position in Plan::layers(); -1: none of them
  int64_t flops = 0;  // of its multiply-adds, two each
  int64_t bytes = 0;  // of the tensors that it has to read or write, in each pass that this takes
};

class Plan {
 public:
  /// Requires: the graph's output is set, and `parameters` were made from the graph's
  /// parameters (with training in train mode). `parameters` and `context` outlive the plan.
  Plan(const Graph& graph, Parameters& parameters, DeviceContext& context,
       const PlanOptions& options);

  int inputs() const { return static_cast<int>(inputs_.size()); }
  /// Where the caller puts a batch: NxHxWx3 of the plan's dtype.
  const Tensor& input(int which = 0) const { return inputs_.at(to_size(which)).images; }
  /// u8 NxHxWx1; null data without a loss.
  const Tensor& labels(int which = 0) const { return inputs_.at(to_size(which)).labels; }
  /// From now on the passes and the loss read that input and its labels; at first the first.
  void use_input(int which);
  int input_in_use() const { return input_in_use_; }
  /// Class scores NxHxWxC; in train mode they are gone after loss(), unless they are kept.
  const Tensor& output() const { return scores_.front().values; }
  /// In train mode, between loss() and backward(): the gradient of the loss by the scores, to which
  /// more may be added.
  const Tensor& output_gradient() const { return scores_.front().gradient; }
  /// How many there are: 1, and in train mode the graph's auxiliary ones.
  int outputs() const { return static_cast<int>(scores_.size()); }

  // With a timeline, each of the three marks it after every call of calls().

  /// Rewrites the parameters for the device, but for those that were another plan's to pack
  /// (PlanOptions::weights). Call after every change of them, while no plan that reads them
  /// runs. Its scratch may lie in the arena: output() is gone, and what lies in an only input().
  void pack_weights(Timeline* timeline = nullptr);
  void forward(Timeline* timeline = nullptr);
  /// Loss of output() against labels(), and with weights that of auxiliary ones; in train mode
  /// their gradient too. `values`: device memory for outputs() of them, the weights of auxiliary
  /// ones in `total` alone; `class_weights`: fp32 {1,1,1,C} or null data.
  void loss(const Tensor& class_weights, LossValues* values);
  /// Gradients of all trained parameters that are not frozen, into Parameters::gradient (what is
  /// there for the others means nothing). Train mode, after loss().
  void backward(Timeline* timeline = nullptr);

  const PlanMemory& memory() const { return memory_; }
  const PlanWeights& weights() const { return *weights_; }
  const Arena& arena() const { return arena_; }
  std::vector<PlanLayer> layers() const;
  /// What a pass consists of, in the order in which it runs.
  std::vector<PlanCall> calls(Pass pass) const;

 private:
  struct Step {
    std::string name;
    std::shared_ptr<Layer> layer;
    LayerNeeds needs;
    Bindings forward, backward;  // they differ in the workspace
    bool learns = false;         // some parameter gets a gradient
    bool joined = false;         // its gradient is taken by the layer before
  };

  struct Input {
    Tensor images, labels;
  };
  struct Scores {
    Tensor values, gradient;
    std::optional<LossDesc> loss;
  };

  // How it is made, in this order. `learning`, `gradients`: which parameters and values get one.

  /// Layers, by node of graph_.
  void compile(const std::vector<bool>& learning, const std::vector<bool>& gradients);
  void request_weights(const Parameters& parameters, Stream& stream);
  /// The arena, from what layers need.
  PlanLayout place(const std::vector<bool>& gradients, Device device);
  /// Layers to their tensors.
  void bind_layers(const PlanLayout& layout, const Parameters& parameters);
  /// Inputs, labels, output.
  void bind_ends(const PlanLayout& layout, Stream& stream);
  /// Gives the layers that make their weights' gradients in the plan's dtype memory for them.
  void narrow_weight_gradients(Stream& stream);

  /// The casts that are a call of the pass, if there are any.
  const CastList& casts_of(Pass pass) const;
  /// Whether the pass has anything to do at a position in steps_.
  bool runs(Pass pass, size_t position) const;

  /// Runs a pass, or lists it: visit(position in steps_), or kCasts for casts_of(pass).
  template <typename Visit>
  void for_each_call(Pass pass, const Visit& visit) const {
    const bool casts = pass != Pass::forward && !casts_of(pass).empty();
    if (pass == Pass::pack && casts) visit(kCasts);
    for (size_t k = 0; k < steps_.size(); ++k) {
      const size_t i = pass == Pass::backward ? steps_.size() - 1 - k : k;
      if (runs(pass, i)) visit(i);
    }
    if (pass == Pass::backward && casts) visit(kCasts);
  }
  static constexpr size_t kCasts = static_cast<size_t>(-1);
  void run(Pass pass, Timeline* timeline);
  void run_call(Pass pass, size_t position);
  PlanCall call(Pass pass, size_t position) const;

  Ops& ops_;
  PlanOptions options_;
  Graph graph_;
  std::vector<Step> steps_;
  Arena arena_;
  std::shared_ptr<const PlanWeights> weights_;
  Buffer narrow_gradients_;
  CastList gradient_casts_;  // of these to Parameters::gradient
  PlanMemory memory_;
  std::vector<Input> inputs_;
  int input_in_use_ = 0;
  std::vector<Scores> scores_;  // the output's first
  void* pack_workspace_ = nullptr;
  void* loss_workspace_ = nullptr;
};

}  // namespace macadam
