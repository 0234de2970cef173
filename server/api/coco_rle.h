#pragma once
// Masks as COCO's tools take them: compressed run lengths, column by column.
// Source: cocoapi, common/maskApi.c (rleEncode, rleToString).

#include <cstdint>
#include <span>
#include <string>

namespace macadam {

/// One class of a mask.
struct CocoRegion {
  std::string counts;  // "counts" of a segmentation {"size": [h, w], "counts"}
  uint64_t area = 0;   // pixels
  int left = 0, top = 0, width = 0, height = 0;  // of the box around it; all 0 without pixels
};

/// Where `classes`, height x width row by row, are `wanted`.
CocoRegion coco_region(std::span<const uint8_t> classes, int height, int width, uint8_t wanted);

}  // namespace macadam
