#include "models/openmmlab_names.h"

#include <fmt/format.h>

#include <memory>

namespace macadam {

namespace {

/// Of "conv1", "bn1" … within a residual block.
std::string in_block(std::string_view layer, bool downsample_is_a_unit) {
  if (layer.starts_with("bn")) return fmt::format("conv{}.bn", layer.substr(2));
  if (layer.starts_with("conv")) return fmt::format("{}.conv", layer);
  if (!downsample_is_a_unit) return std::string(layer);
  return layer == "downsample.0" ? "downsample.conv" : "downsample.bn";
}

std::optional<std::string> theirs(const OpenMmlabNames& names, std::string_view layer) {
  if (auto found = look_up(names.rest, layer)) return found;
  for (const OpenMmlabNames::Unit& unit : names.units) {
    const int norm = unit.first + (unit.norm_first ? 0 : 1);
    const int conv = unit.first + (unit.norm_first ? 2 : 0);
    if (layer == fmt::format("{}.{}", unit.ours, norm)) return fmt::format("{}.bn", unit.theirs);
    if (layer == fmt::format("{}.{}", unit.ours, conv)) return fmt::format("{}.conv", unit.theirs);
  }
  for (const auto& [ours, block] : names.blocks) {
    if (!layer.starts_with(ours)) continue;
    // "0." of the blocks of a layer, nothing of one alone.
    const std::string_view inside = layer.substr(ours.size());
    const size_t number = inside.find_first_not_of("0123456789.");
    return fmt::format("{}{}{}", block, inside.substr(0, number),
                       in_block(inside.substr(number), names.downsample_is_a_unit));
  }
  return std::nullopt;
}

}  // namespace

OpenMmlabNames with_dual_resolution(OpenMmlabNames own) {
  const OpenMmlabNames common{
      .blocks = {{"layer1.", "backbone.stem.2."}, {"layer2.", "backbone.stem.4."}},
      .downsample_is_a_unit = own.downsample_is_a_unit,
      .units = {{"conv1", 0, false, "backbone.stem.0"},
                {"conv1", 3, false, "backbone.stem.1"},
                {"compression3", 0, false, "backbone.compression_1"},
                {"compression4", 0, false, "backbone.compression_2"},
                {"spp.scale0", 0, true, "backbone.spp.scales.0"},
                {"spp.scale1", 1, true, "backbone.spp.scales.1.1"},
                {"spp.scale2", 1, true, "backbone.spp.scales.2.1"},
                {"spp.scale3", 1, true, "backbone.spp.scales.3.1"},
                {"spp.scale4", 1, true, "backbone.spp.scales.4.1"},
                {"spp.compression", 0, true, "backbone.spp.compression"},
                {"spp.shortcut", 0, true, "backbone.spp.shortcut"}},
      .rest = {},
      .zeros = {"conv1.0.bias", "conv1.3.bias"},  // before a batch norm
  };
  const auto add = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  add(own.blocks, common.blocks);
  add(own.units, common.units);
  add(own.zeros, common.zeros);
  return own;
}

std::vector<EncoderNames> openmmlab_names(OpenMmlabNames names) {
  const auto shared = std::make_shared<const OpenMmlabNames>(std::move(names));
  const auto whole = [shared](std::string_view layer) { return theirs(*shared, layer); };
  const auto backbone = [shared](std::string_view layer) -> std::optional<std::string> {
    constexpr std::string_view kPrefix = "backbone.";
    const auto name = theirs(*shared, layer);
    if (!name || !name->starts_with(kPrefix)) return std::nullopt;
    return name->substr(kPrefix.size());
  };
  return {{.tool = "mmsegmentation", .layer = whole, .zeros = shared->zeros},
          {.tool = "OpenMMLab's backbone", .layer = backbone, .zeros = shared->zeros}};
}

}  // namespace macadam
