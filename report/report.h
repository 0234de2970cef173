#pragma once
// What a run leaves for people to read: figures, a page, pictures. Everything here is a pure
// function from plain data to text or pixels; nothing is read from or written to disk.

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/rgb.h"
#include "engine/train/epoch_record.h"
#include "image/image.h"

namespace macadam {

struct ClassScore {
  std::string name;
  Rgb color{};
  double iou = 0, dice = 0;  ///< 0 to 1; NaN = the class is absent
  uint64_t label_pixels = 0;
  double precision = 0, recall = 0;  ///< NaN = never predicted, never labelled
};

/// One validation image. The masks have 1 channel of class indices; every other value (255) is
/// ignored. All three have the same height and width.
struct ReportSample {
  std::string name;
  Image photo, truth, prediction;
  double iou = std::numeric_limits<double>::quiet_NaN();  ///< of this image; NaN: not said
};

struct ReportData {
  std::string title;    ///< usually the name of the run
  std::string network;  ///< with its options
  std::string dataset, label_set, device, precision;
  std::string version;  ///< of the program
  int height = 0, width = 0, batch = 0;
  uint64_t parameters = 0;
  double seconds = 0;         ///< of the whole run
  int best_epoch = 0;         ///< whose weights were scored; 0 = none
  std::vector<Score> scores;  ///< of the best epoch
  std::vector<EpochRecord> history;
  std::vector<ClassScore> classes;
  AbsentRule absent = AbsentRule::drop;  ///< of the means
  /// classes x classes pixels, row = truth, column = prediction; may be empty.
  std::vector<uint64_t> confusion;
  std::string config;                            ///< TOML
  std::string command;                           ///< that trains the same again; may be empty
  uint64_t step_bytes = 0, parameter_bytes = 0;  ///< memory of a step, and of what it changes
  std::vector<ReportSample> samples;             ///< spread over the split
  std::vector<ReportSample> worst, best;         ///< by their IoU
};

/// Losses, their terms where there are several, scores and the learning rate over the epochs: an
/// SVG 800 wide. `best_epoch` is marked unless it is 0. Values that are not finite are left out.
std::string curves_svg(std::span<const EpochRecord> history, int best_epoch = 0);

/// The confusion matrix as an SVG at most 800 wide. A cell shows the percentage of its row, that
/// is of the pixels that have this label in truth. Requires classes^2 values (row = truth).
std::string confusion_svg(std::span<const ClassScore> classes, std::span<const uint64_t> confusion);

/// The page: one self-contained HTML file (also well-formed XML after its first line) without
/// scripts and without references to anything outside it.
std::string report_html(const ReportData& data);

}  // namespace macadam
