#pragma once
// Pictures beside and below each other, with titles and the names of the classes.

#include <span>
#include <string>
#include <vector>

#include "image/image.h"
#include "report/report.h"

namespace macadam {

struct TitledPicture {
  std::string title;
  Image picture;  // RGB
};

/// Rows of pictures under their titles, and below them a strip that names the classes in `masks`.
/// Requires pictures of one size, at least one, and rows of equal length.
Image picture_sheet(std::span<const std::vector<TitledPicture>> rows, std::span<const Image> masks,
                    std::span<const ClassScore> classes);

/// Photo, truth, prediction and its errors in one row.
Image sample_sheet(const ReportSample& sample, std::span<const ClassScore> classes);

}  // namespace macadam
