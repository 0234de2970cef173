#include "server/api/coco_rle.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

/// Five bits a character, low first, from '0' on; the sixth says that more follow. From the fourth
/// run on it is the difference to the run two before that is written.
std::string compressed(std::span<const int64_t> runs) {
  std::string text;
  for (size_t i = 0; i < runs.size(); ++i) {
    int64_t value = runs[i];
    if (i > 2) value -= runs[i - 2];
    for (bool more = true; more;) {
      int64_t bits = value & 0x1f;
      value >>= 5;
      more = (bits & 0x10) != 0 ? value != -1 : value != 0;
      if (more) bits |= 0x20;
      text += static_cast<char>(bits + '0');
    }
  }
  return text;
}

}  // namespace

CocoRegion coco_region(std::span<const uint8_t> classes, int height, int width, uint8_t wanted) {
  require(classes.size() == to_size(height) * to_size(width), "a byte a pixel");
  CocoRegion region;
  std::vector<int64_t> runs;
  bool inside = false;  // the first run is of other classes
  int64_t run = 0;
  int right = -1, bottom = -1;
  region.left = width;
  region.top = height;
  for (int x = 0; x < width; ++x) {
    const uint8_t* pixel = classes.data() + x;
    for (int y = 0; y < height; ++y, pixel += width) {
      const bool here = *pixel == wanted;
      if (here != inside) {
        runs.push_back(run);
        run = 0;
        inside = here;
      }
      ++run;
      if (!here) continue;
      ++region.area;
      region.left = std::min(region.left, x);
      region.top = std::min(region.top, y);
      right = x;
      bottom = std::max(bottom, y);
    }
  }
  runs.push_back(run);
  region.counts = compressed(runs);
  if (region.area == 0) region.left = region.top = 0;
  region.width = region.area == 0 ? 0 : right - region.left + 1;
  region.height = region.area == 0 ? 0 : bottom - region.top + 1;
  return region;
}

}  // namespace macadam
