#include "run/loss_presets.h"

#include <array>

namespace macadam {

namespace {

constexpr float kKerasSmooth = 1e-5f;
constexpr AbsentClass kZero = AbsentClass::zero, kSuppress = AbsentClass::suppress;

constexpr std::array kPresets{
    LossPreset{.name = "dice:smp", .term = "dice", .parameters = {0}, .absent = kZero},
    LossPreset{
        .name = "dice:keras", .term = "dice", .parameters = {kKerasSmooth}, .absent = kSuppress},
    LossPreset{.name = "jaccard:smp", .term = "jaccard", .parameters = {0}, .absent = kZero},
    LossPreset{.name = "jaccard:keras",
               .term = "jaccard",
               .parameters = {kKerasSmooth},
               .absent = kSuppress},
    LossPreset{
        .name = "tversky:smp", .term = "tversky", .parameters = {0.5f, 0.5f, 0}, .absent = kZero},
    LossPreset{.name = "focal:smp", .term = "focal_ovr", .parameters = {2}},
    LossPreset{.name = "focal:keras",
               .term = "focal",
               .parameters = {2},
               .weight = 0.25f,
               .over_classes = true},
    LossPreset{.name = "ce:keras", .term = "ce", .parameters = {0}, .over_classes = true},
    LossPreset{
        .name = "total:keras", .term = "dice", .parameters = {kKerasSmooth}, .absent = kSuppress},
    LossPreset{.name = "total:keras",
               .term = "focal",
               .parameters = {2},
               .weight = 0.25f,
               .over_classes = true},
    LossPreset{.name = "lovasz:smp", .term = "lovasz"},
};

}  // namespace

std::span<const LossPreset> loss_presets() { return kPresets; }

}  // namespace macadam
