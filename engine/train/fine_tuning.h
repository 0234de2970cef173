#pragma once
// Fine-tuning: which parts of a pretrained network learn, when, and how fast.

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/graph/graph.h"

namespace macadam {

/// Freezes parameters: neither they nor their moments change, nor do they decay. The running
/// statistics of batch norms are not parameters in this sense (see FrozenBatchNorms).
struct FreezeRule {
  static constexpr int64_t kWholeRun = std::numeric_limits<int64_t>::max();

  /// Of parameter names; * stands for any characters, ? for one. A parameter of the encoder is also
  /// known as "encoder." + its name.
  std::string pattern;
  int64_t epochs = kWholeRun;  // the first epochs of the run, in which it holds

  bool operator==(const FreezeRule&) const = default;
};

/// Which batch norms normalise by their running statistics in training and leave those alone.
/// Their scales and shifts are trained unless a FreezeRule says otherwise.
enum class FrozenBatchNorms : uint8_t { none, encoder, all };

struct FineTuning {
  std::vector<FreezeRule> freeze;
  float encoder_lr = 1;  // factor on the learning rate of the encoder's parameters
  FrozenBatchNorms batch_norms = FrozenBatchNorms::none;

  bool operator==(const FineTuning&) const = default;
};

/// Whether `name` as a whole is what `pattern` describes: * stands for any characters (dots too, or
/// none), ? for exactly one, every other character for itself.
bool matches_pattern(std::string_view pattern, std::string_view name);

/// Throws InputError when a rule matches no trained parameter of `graph` (naming the nearest part
/// of the network), when nothing is left to train, when there is no encoder or batch norm that an
/// option could act on, and when a batch norm would see one value a channel (one_value_norm.h).
void check_fine_tuning(const FineTuning& options, const Graph& graph);

/// The factor on the learning rate of each parameter in `epoch` (from 0); 0: frozen.
std::vector<float> learning_rate_scales(const FineTuning& options,
                                        std::span<const ParameterSpec> specs, int64_t epoch);

/// Which of them are frozen: those whose factor is 0.
std::vector<bool> frozen_parameters(std::span<const float> learning_rate_scales);

/// The first epoch after `epoch` in which other parameters are frozen; FreezeRule::kWholeRun when
/// there is none.
int64_t end_of_phase(const FineTuning& options, int64_t epoch);

/// `graph` for training: its batch norms frozen as `options` say.
Graph with_frozen_batch_norms(const FineTuning& options, const Graph& graph);

}  // namespace macadam
