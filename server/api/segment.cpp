// POST /v1/segment: photos in, masks out.

#include <fmt/format.h>

#include <mutex>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "server/api/answer_formats.h"
#include "server/api/api.h"
#include "server/http/multipart.h"

namespace macadam {

namespace {

constexpr size_t kMostPhotos = 32;  // of one request

/// What is wanted of every photo of a request.
struct Wanted {
  AnswerFormat format = AnswerFormat::png;
  bool confidence = false, tile = false, flip = false, label_ids = false;
};

AnswerFormat format_of(const Call& call) {
  if (!call.parameter("format").empty()) {
    const std::string name = call.choice("format", kAnswerFormats);
    return static_cast<AnswerFormat>(std::ranges::find(kAnswerFormats, name) -
                                     kAnswerFormats.begin());
  }
  std::string accept;  // its fields are one list
  for (const auto& [name, value] : call.request().fields) {
    if (same_field(name, "Accept")) accept += value + ",";
  }
  const auto accepted = accepted_format(accept);
  if (!accepted) {
    throw HttpError(406, "masks come as image/png, application/json or application/octet-stream");
  }
  return *accepted;
}

Wanted wanted_of(const Call& call) {
  static constexpr std::array<std::string_view, 2> kIds{"class", "label"};
  return {format_of(call), call.flag("confidence"), call.flag("tile"), call.flag("flip"),
          call.choice("ids", kIds) == "label"};
}

/// What becomes of one photo.
struct Outcome {
  HttpResponse error;  // when it is not 200
  std::vector<SentPart> parts;
  SegmentationResult stages;
  std::chrono::nanoseconds encode{0};
  ByteBudget::Hold memory;  // of the parts, which wait for those of other photos
};

/// Photos on their way through the stages; the last one that is done answers for all.
class SegmentCall : public std::enable_shared_from_this<SegmentCall> {
 public:
  SegmentCall(std::shared_ptr<Call> call, const ApiContext& context,
              std::shared_ptr<ServedModel> model, const Wanted& wanted)
      : call_(std::move(call)), context_(context), model_(std::move(model)), wanted_(wanted) {}

  /// `photos` are views of `body`. With `several` the answer has a part for each photo.
  void start(std::shared_ptr<const std::string> body, std::vector<std::string_view> photos,
             bool several) {
    body_ = std::move(body);
    several_ = several;
    outcomes_.resize(photos.size());
    left_ = photos.size();
    for (size_t i = 0; i < photos.size(); ++i) begin(i, photos[i]);
  }

 private:
  void begin(size_t i, std::string_view bytes) {
    SegmentationRequest request;
    request.model = model_;
    request.wishes = {wanted_.flip, wanted_.confidence, false};
    request.tile = wanted_.tile;
    request.deadline = call_->received() + context_.options.deadline;
    request.abandoned = [call = call_] { return call->abandoned(); };
    request.decode = [self = shared_from_this(), bytes, i](const ImageLimits& limits) {
      const ModelInfo& info = self->model_->info();
      const PhotoUse use{info.height, info.width, self->wanted_.tile,
                         self->wanted_.format == AnswerFormat::overlay};
      const std::string name = self->several_ ? fmt::format("photo {}", i + 1) : "the photo";
      return decode_photo({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, name, use,
                          limits);
    };
    context_.segmentation.run(
        std::move(request), [self = shared_from_this(), i](auto& result) { self->end(i, result); });
  }

  void end(size_t i, SegmentationResult& result) {
    Outcome outcome;
    try {
      require_done(context_, result);
      const auto begun = Clock::now();
      outcome.parts.push_back({"mask", std::string(media_type(wanted_.format)),
                               encode_mask(wanted_.format, result.prediction, result.photo.whole,
                                           model_->info(), wanted_.label_ids)});
      if (wanted_.confidence) {
        outcome.parts.push_back({"confidence", "image/png", encode_confidence(result.prediction)});
      }
      outcome.encode = Clock::now() - begun;
      if (several_) hold(outcome);
      context_.monitor.segmented(*model_, result, outcome.encode);
      outcome.stages.decode = result.decode;
      outcome.stages.queue = result.queue;
      outcome.stages.infer = result.infer;
      outcome.stages.batch = result.batch;
    } catch (...) {
      outcome.error = current_error(context_, *call_);
    }
    const std::lock_guard lock(mutex_);
    outcomes_[i] = std::move(outcome);
    if (--left_ == 0) answer_errors(context_, *call_, [this] { answer(); });
  }

  void hold(Outcome& outcome) const {
    size_t bytes = 0;
    for (const SentPart& part : outcome.parts) bytes += part.content.size();
    outcome.memory = context_.segmentation.memory().hold(bytes);
    if (outcome.memory) return;
    outcome.parts.clear();
    throw NoMemoryError("the server has not enough memory for this, try again");
  }

  void answer() {
    call_->inference = {model_, {}};
    for (const Outcome& outcome : outcomes_) {
      if (outcome.error.status == 200) {
        call_->inference->add(outcome.stages.times(outcome.encode));
      }
    }
    HttpResponse response;
    if (several_) {
      std::vector<SentPart> parts;
      for (Outcome& outcome : outcomes_) {
        if (outcome.error.status != 200) {
          parts.push_back({"error", outcome.error.content_type, std::move(outcome.error.body)});
        }
        for (SentPart& part : outcome.parts) parts.push_back(std::move(part));
      }
      set_parts(response, parts);
    } else {
      Outcome& only = outcomes_.front();
      if (only.error.status != 200) return call_->answer(std::move(only.error));
      if (only.parts.size() > 1) {
        set_parts(response, only.parts);
      } else {
        response.content_type = std::move(only.parts.front().content_type);
        response.body = std::move(only.parts.front().content);
      }
    }
    const Outcome& first = outcomes_.front();
    add_stages(response, first.stages, first.encode, *model_);
    call_->answer(std::move(response));
  }

  static void set_parts(HttpResponse& response, std::span<const SentPart> parts) {
    MultipartBody body = make_multipart(parts);
    response.content_type = std::move(body.content_type);
    response.body = std::move(body.body);
  }

  const std::shared_ptr<Call> call_;
  const ApiContext& context_;
  const std::shared_ptr<ServedModel> model_;
  const Wanted wanted_;
  bool several_ = false;
  std::shared_ptr<const std::string> body_;
  std::mutex mutex_;
  std::vector<Outcome> outcomes_;
  size_t left_ = 0;
};

/// The photos of a body, which is one or, of multipart/form-data, several.
std::vector<std::string_view> photos_of(std::string_view type, std::string_view body,
                                        bool& several) {
  const auto boundary = multipart_boundary(type);
  several = boundary.has_value();
  if (!several) {
    static constexpr std::array<std::string_view, 6> kTypes{
        "image/png",
        "image/jpeg",
        "image/bmp",
        "application/octet-stream",
        "application/x-www-form-urlencoded",  // what curl --data-binary says of anything
        ""};
    const std::string_view plain = type.substr(0, type.find(';'));
    if (std::ranges::none_of(kTypes, [&](auto known) { return same_field(known, plain); })) {
      throw HttpError(415,
                      "photos come as image/png, image/jpeg, image/bmp or multipart/form-data");
    }
    if (body.empty()) throw HttpError(400, "the photo is missing: it is the request's body");
    return {body};
  }
  const auto parts = parse_multipart(body, *boundary, kMostPhotos);
  if (!parts) {
    throw HttpError(400, fmt::format("the body is not well-formed multipart/form-data of 1 to {} "
                                     "photos",
                                     kMostPhotos));
  }
  std::vector<std::string_view> photos;
  for (const BodyPart& part : *parts) photos.push_back(part.content);
  return photos;
}

void segment(const ApiContext& context, std::shared_ptr<Call> call) {
  const auto model = model_of(context, call->path("model"));
  call->model = fmt::format("{}:{}", model->name(), model->version());
  const Wanted wanted = wanted_of(*call);
  const auto work = std::make_shared<SegmentCall>(call, context, model, wanted);
  const auto start = [&context, call, work] {
    answer_errors(context, *call, [&] {
      auto body = unpacked_body(context, call);
      bool several = false;
      auto photos = photos_of(call->request().field("Content-Type").value_or(""), *body, several);
      work->start(std::move(body), std::move(photos), several);
    });
  };
  if (call->request().field("Content-Encoding")) {
    context.segmentation.post(start);
  } else {
    start();
  }
}

}  // namespace

void add_segment_routes(Router& router, const ApiContext& context) {
  using Json = nlohmann::ordered_json;
  const Json flag{{"type", "boolean"}, {"default", false}};
  for (const char* pattern : {"/v1/segment", "/v1/segment/{model}"}) {
    Route route;
    route.method = "POST";
    route.pattern = pattern;
    route.summary = "The mask of a photo, or of several";
    route.parameters = {
        {"format", Json{{"type", "string"}, {"enum", kAnswerFormats}, {"default", "png"}},
         "png: 8-bit indices with a palette; color; overlay: the photo under the colors; rle: COCO "
         "run lengths; raw: height x width bytes. Without it the Accept field decides."},
        {"ids", Json{{"type", "string"}, {"enum", {"class", "label"}}, {"default", "class"}},
         "Whether pixels are the numbers of classes or the data set's ids, as macadam predict "
         "writes them"},
        {"confidence", flag,
         "Also each pixel's probability of its class, 0 to 255: the answer is multipart/mixed"},
        {"tile", flag, "Keep the photo's resolution: overlapping windows, blended"},
        {"flip", flag, "Average with the mirror image"}};
    route.takes = {"image/png", "image/jpeg", "image/bmp", "multipart/form-data"};
    route.gives = {"image/png", "application/json", "application/octet-stream", "multipart/mixed"};
    route.works = true;
    route.handle = [&context](std::shared_ptr<Call> call) { segment(context, std::move(call)); };
    router.add(std::move(route));
  }
}

}  // namespace macadam
