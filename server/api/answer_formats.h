#pragma once
// A prediction as the forms that clients may have it in.

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "engine/infer/predictor.h"
#include "engine/model/model_info.h"
#include "image/image.h"
#include "server/http/message.h"
#include "server/service/segmentation.h"

namespace macadam {

enum class AnswerFormat : uint8_t {
  png,      // 8-bit indices, the palette beside them
  color,    // RGB in the classes' colors
  overlay,  // the photo under those
  rle,      // COCO's JSON
  raw,      // height x width bytes
};

/// Their names, in order, and the type of each.
inline constexpr std::array<std::string_view, 5> kAnswerFormats{"png", "color", "overlay", "rle",
                                                                "raw"};

std::string_view media_type(AnswerFormat format);

/// The format of png, rle and raw that an Accept field gives the most weight, the first of equals;
/// png when it is empty, nothing when it accepts none of the types. Who accepts multipart/mixed
/// gets a png in it.
std::optional<AnswerFormat> accepted_format(std::string_view accept);

/// `photo` is empty but for overlay. `label_ids`: pixels are the data set's ids (as `macadam
/// predict` writes them) instead of the numbers of the classes; of png, rle and raw.
std::string encode_mask(AnswerFormat format, const Prediction& prediction, const Image& photo,
                        const ModelInfo& info, bool label_ids);

/// Says how long a photo waited, was decoded, was seen by the network and was encoded, how many
/// photos the network saw together, and which model it was.
void add_stages(HttpResponse& response, const SegmentationResult& stages,
                std::chrono::nanoseconds encode, const ServedModel& model);

/// The confidence plane as a grey PNG.
std::string encode_confidence(const Prediction& prediction);

}  // namespace macadam
