#include "server/api/answer_formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/json_text.h"
#include "report/picture.h"
#include "server/api/coco_rle.h"
#include "server/http/accept.h"

namespace macadam {

namespace {

std::string text_of(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

Image plane_of(const Prediction& prediction, std::span<const uint8_t> values) {
  Image plane(prediction.height, prediction.width, 1);
  std::ranges::copy(values, plane.pixels.begin());
  return plane;
}

/// The color of each value that a mask may have.
std::vector<Rgb> palette_of_values(const ModelInfo& info, bool label_ids) {
  if (!label_ids) return info.palette;
  std::vector<Rgb> palette(256, Rgb{0, 0, 0});
  for (size_t c = 0; c < info.palette.size(); ++c)
    palette[info.inverse_ids.at(c)] = info.palette[c];
  return palette;
}

std::string rle_json(const Prediction& prediction, const ModelInfo& info, bool label_ids) {
  nlohmann::ordered_json regions = nlohmann::ordered_json::array();
  for (size_t c = 0; c < info.class_names.size(); ++c) {
    const CocoRegion region = coco_region(prediction.classes, prediction.height, prediction.width,
                                          static_cast<uint8_t>(c));
    if (region.area == 0) continue;
    regions.push_back(
        {{"category_id", label_ids ? info.inverse_ids.at(c) : c},
         {"name", info.class_names[c]},
         {"area", region.area},
         {"bbox", {region.left, region.top, region.width, region.height}},
         {"segmentation",
          {{"size", {prediction.height, prediction.width}}, {"counts", region.counts}}}});
  }
  return json_text(nlohmann::ordered_json{
      {"height", prediction.height}, {"width", prediction.width}, {"regions", std::move(regions)}});
}

}  // namespace

std::string_view media_type(AnswerFormat format) {
  switch (format) {
    case AnswerFormat::rle: return "application/json";
    case AnswerFormat::raw: return "application/octet-stream";
    default: return "image/png";
  }
}

std::optional<AnswerFormat> accepted_format(std::string_view accept) {
  const std::vector<MediaRange> ranges = media_ranges(accept);
  if (ranges.empty()) return AnswerFormat::png;
  std::optional<AnswerFormat> best;
  int most = 0;
  for (const AnswerFormat format : {AnswerFormat::png, AnswerFormat::rle, AnswerFormat::raw}) {
    std::optional<int> weight = weight_of(media_type(format), ranges);
    if (!weight && format == AnswerFormat::png) weight = weight_of("multipart/mixed", ranges);
    if (weight.value_or(0) <= most) continue;
    best = format;
    most = *weight;
  }
  return best;
}

std::string encode_mask(AnswerFormat format, const Prediction& prediction, const Image& photo,
                        const ModelInfo& info, bool label_ids) {
  if (format == AnswerFormat::rle) return rle_json(prediction, info, label_ids);
  Image plane = plane_of(prediction, prediction.classes);
  if (format == AnswerFormat::color) return text_of(encode_png(colorize(plane, info.palette)));
  if (format == AnswerFormat::overlay) {
    return text_of(encode_png(overlay(photo, plane, info.palette)));
  }
  if (label_ids) {
    for (uint8_t& pixel : plane.pixels) pixel = info.inverse_ids.at(pixel);
  }
  if (format == AnswerFormat::raw) return {plane.pixels.begin(), plane.pixels.end()};
  return text_of(encode_png(plane, palette_of_values(info, label_ids)));
}

void add_stages(HttpResponse& response, const SegmentationResult& stages,
                std::chrono::nanoseconds encode, const ServedModel& model) {
  const auto ms = [](std::chrono::nanoseconds time) {
    return std::chrono::duration<double, std::milli>(time).count();
  };
  response.fields.emplace_back(
      "Server-Timing",
      fmt::format("queue;dur={:.3f}, decode;dur={:.3f}, infer;dur={:.3f}, encode;dur={:.3f}",
                  ms(stages.queue), ms(stages.decode), ms(stages.infer), ms(encode)));
  response.fields.emplace_back("X-Batch-Size", std::to_string(stages.batch));
  response.fields.emplace_back("X-Model", fmt::format("{}:{}", model.name(), model.version()));
}

std::string encode_confidence(const Prediction& prediction) {
  return text_of(encode_png(plane_of(prediction, prediction.confidence)));
}

}  // namespace macadam
