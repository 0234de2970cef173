#pragma once
// OpenMMLab's names (mmsegmentation, mmpretrain): a convolution and the batch norm beside it are a
// unit, "UNIT.conv" and "UNIT.bn", where authors number the layers of a sequence.

#include <string_view>
#include <vector>

#include "models/encoders/encoder.h"

namespace macadam {

struct OpenMmlabNames {
  struct Unit {
    std::string_view ours;
    int first;        // number of its first layer
    bool norm_first;  // norm, ReLU, convolution; else convolution, norm
    std::string_view theirs;
  };

  std::vector<LayerName> blocks;  // what residual blocks begin with, "layer1." for one
  bool downsample_is_a_unit;      // in a block; else numbered
  std::vector<Unit> units;
  std::vector<LayerName> rest;            // whole names
  std::vector<std::string_view> zeros{};  // EncoderNames::zeros
};

/// `own`, and what DDRNet and PIDNet have in common: the stem and the layers upon it, the
/// compressions, and numbered_pyramid("spp", …) but for its processes.
OpenMmlabNames with_dual_resolution(OpenMmlabNames own);

/// As files of a segmentation network have them, and as those of its "backbone." alone.
std::vector<EncoderNames> openmmlab_names(OpenMmlabNames names);

}  // namespace macadam
