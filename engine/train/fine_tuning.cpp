#include "engine/train/fine_tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "engine/graph/one_value_norm.h"
#include "engine/graph/rewrite.h"

namespace macadam {

namespace {

constexpr std::string_view kEncoder = "encoder.";

bool matches(const FreezeRule& rule, const ParameterSpec& spec) {
  return matches_pattern(rule.pattern, spec.name) ||
         (spec.encoder && !spec.name.starts_with(kEncoder) &&
          matches_pattern(rule.pattern, std::string(kEncoder) + spec.name));
}

/// The pattern that is written most like `pattern` among those that match something: a parameter's
/// name, or a part of the network and ".*".
std::string nearest_pattern(std::string_view pattern, std::span<const ParameterSpec> specs) {
  std::set<std::string> parts;
  std::set<std::string> whole;
  for (const ParameterSpec& spec : specs) {
    if (!spec.trainable()) continue;
    whole.insert(spec.name);
    if (spec.encoder) parts.insert("encoder");
    for (size_t dot = spec.name.find('.'); dot != std::string::npos;
         dot = spec.name.find('.', dot + 1)) {
      parts.insert(spec.name.substr(0, dot));
    }
  }
  std::vector<std::string> candidates(parts.begin(), parts.end());
  candidates.insert(candidates.end(), whole.begin(), whole.end());
  const size_t end = pattern.find_last_not_of("*.");
  const std::string found = nearest(pattern.substr(0, end + 1), candidates);
  return whole.contains(found) ? found : found + ".*";
}

[[noreturn]] void fail_unmatched(const FreezeRule& rule, std::span<const ParameterSpec> specs) {
  const bool untrained =
      std::ranges::any_of(specs, [&](const ParameterSpec& spec) { return matches(rule, spec); });
  if (untrained) {
    throw InputError(fmt::format("{} matches no trained parameter", quote(rule.pattern)), "freeze",
                     "remove it (freeze_batch_norm keeps running statistics)");
  }
  throw InputError(fmt::format("no parameter matches {}", quote(rule.pattern)), "freeze",
                   fmt::format("did you mean \"{}\"?", nearest_pattern(rule.pattern, specs)));
}

}  // namespace

bool matches_pattern(std::string_view pattern, std::string_view name) {
  // On a mismatch the last * takes one character more; earlier ones need not be tried again.
  size_t p = 0, n = 0, after_star = std::string_view::npos, star_end = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      after_star = ++p;
      star_end = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (after_star != std::string_view::npos) {
      p = after_star;
      n = ++star_end;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

void check_fine_tuning(const FineTuning& options, const Graph& graph) {
  const std::vector<ParameterSpec>& specs = graph.parameters();
  for (const FreezeRule& rule : options.freeze) {
    const bool matched = std::ranges::any_of(
        specs, [&](const ParameterSpec& spec) { return spec.trainable() && matches(rule, spec); });
    if (!matched) fail_unmatched(rule, specs);
  }
  const bool has_encoder = std::ranges::any_of(
      specs, [](const ParameterSpec& spec) { return spec.trainable() && spec.encoder; });
  if (options.encoder_lr != 1 && !has_encoder) {
    throw InputError("the network has no encoder", "encoder_lr", "remove the key");
  }
  if (options.batch_norms != FrozenBatchNorms::none) {
    const Graph frozen = with_frozen_batch_norms(options, graph);
    const bool has_norm = std::ranges::any_of(frozen.nodes(), [](const Node& node) {
      const auto* norm = std::get_if<BatchNormLayer>(&node.layer);
      return norm != nullptr && norm->desc.frozen;
    });
    if (!has_norm) {
      throw InputError("there is no batch norm to freeze", "freeze_batch_norm",
                       "remove the key, or choose another network");
    }
  }
  if (const std::string norm = norm_of_one_value(with_frozen_batch_norms(options, graph));
      !norm.empty()) {
    throw InputError(
        fmt::format("the batch norm {} would see one value a channel, which has no variance",
                    quote(norm)),
        "batch", "take 2 photos or more, or freeze_batch_norm = \"all\"");
  }
  // Rules only ever end, so the first epoch has the most of them.
  const std::vector<float> scales = learning_rate_scales(options, specs, 0);
  bool trains = false;
  for (size_t i = 0; i < specs.size(); ++i) trains |= specs[i].trainable() && scales[i] > 0;
  if (!trains) {
    throw InputError("every parameter is frozen", "freeze", "leave some of them to be trained");
  }
}

std::vector<float> learning_rate_scales(const FineTuning& options,
                                        std::span<const ParameterSpec> specs, int64_t epoch) {
  std::vector<float> scales;
  scales.reserve(specs.size());
  for (const ParameterSpec& spec : specs) {
    const bool frozen = std::ranges::any_of(options.freeze, [&](const FreezeRule& rule) {
      return epoch < rule.epochs && matches(rule, spec);
    });
    scales.push_back(frozen ? 0.0f : spec.encoder ? options.encoder_lr : 1.0f);
  }
  return scales;
}

std::vector<bool> frozen_parameters(std::span<const float> learning_rate_scales) {
  std::vector<bool> frozen;
  for (const float scale : learning_rate_scales) frozen.push_back(scale == 0);
  return frozen;
}

int64_t end_of_phase(const FineTuning& options, int64_t epoch) {
  int64_t end = FreezeRule::kWholeRun;
  for (const FreezeRule& rule : options.freeze) {
    if (rule.epochs > epoch) end = std::min(end, rule.epochs);
  }
  return end;
}

Graph with_frozen_batch_norms(const FineTuning& options, const Graph& graph) {
  return options.batch_norms == FrozenBatchNorms::none
             ? graph
             : freeze_batch_norms(graph, options.batch_norms == FrozenBatchNorms::encoder);
}

}  // namespace macadam
