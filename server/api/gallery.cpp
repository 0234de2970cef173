// The photos of a data set, their masks, and what a model makes of them: /v1/images.

#include "server/service/gallery.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/to_size.h"
#include "engine/infer/metrics.h"
#include "image/jpeg_writer.h"
#include "report/picture.h"
#include "server/api/answer_formats.h"
#include "server/api/api.h"
#include "server/http/multipart.h"

namespace macadam {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kLargestPage = 1000, kPage = 100;
constexpr int kLargestThumbnail = 1024, kThumbnail = 320;
constexpr int kThumbnailQuality = 85;

const GalleryItem& item_of(const ApiContext& context, const Call& call) {
  const GalleryItem* const item = context.gallery->find(call.path("id"));
  if (item == nullptr) throw HttpError(404, "there is no image of this id");
  return *item;
}

/// Answers 304 when the client has what the tag names.
bool answer_unchanged(Call& call, const std::string& tag) {
  const std::string quoted = fmt::format("\"{}\"", tag);
  const std::string_view known = call.request().field("If-None-Match").value_or("");
  if (known != "*" && known.find(quoted) == std::string_view::npos) return false;
  HttpResponse response;
  response.status = 304;
  response.fields = {{"ETag", quoted}, {"Cache-Control", "no-cache"}};
  call.answer(std::move(response));
  return true;
}

/// Clients ask each time whether it is still so: that costs no body.
void answer_tagged(Call& call, const std::string& tag, HttpResponse response) {
  response.fields.emplace_back("ETag", fmt::format("\"{}\"", tag));
  response.fields.emplace_back("Cache-Control", "no-cache");
  response.fields.emplace_back("X-Content-Type-Options", "nosniff");
  call.answer(std::move(response));
}

void answer_tagged(Call& call, const std::string& tag, std::string type, std::string body) {
  answer_tagged(call, tag, HttpResponse{200, std::move(type), std::move(body), {}});
}

/// Runs `work` on the pool; what is wrong with a file of the gallery is the server's affair, and
/// its path goes to the log alone.
void on_pool(const ApiContext& context, const std::shared_ptr<Call>& call,
             std::function<void()> work) {
  context.segmentation.post([&context, call, work = std::move(work)] {
    answer_errors(context, *call, [&] {
      try {
        work();
      } catch (const InputError& error) {
        throw RunError("a file of the gallery cannot be used", error.what(), "");
      }
    });
  });
}

void list_images(const ApiContext& context, Call& call) {
  const Gallery& gallery = *context.gallery;
  const std::string_view split = call.parameter("split");
  if (!split.empty() && std::ranges::find(gallery.splits(), split) == gallery.splits().end()) {
    throw HttpError(404, "there is no split of this name");
  }
  const auto limit = to_size(call.number("limit", 1, kLargestPage, kPage));
  const auto offset = to_size(call.number("offset", 0, INT32_MAX, 0));
  size_t count = 0;
  Json images = Json::array();
  for (const GalleryItem& item : gallery.items()) {
    if (!split.empty() && item.split != split) continue;
    if (count++ < offset || images.size() == limit) continue;
    images.push_back({{"id", item.id}, {"split", item.split}, {"labelled", item.labeled}});
  }
  call.answer(json_response({{"dataset", gallery.name()},
                             {"splits", gallery.splits()},
                             {"count", count},
                             {"offset", offset},
                             {"images", std::move(images)}}));
}

void give_photo(const ApiContext& context, const std::shared_ptr<Call>& call) {
  const GalleryItem& item = item_of(context, *call);
  on_pool(context, call, [call, &item] {
    const std::string tag = Gallery::photo_tag(item);
    if (answer_unchanged(*call, tag)) return;
    PhotoFile file = Gallery::file(item);
    answer_tagged(*call, tag, std::move(file.content_type), std::move(file.bytes));
  });
}

void give_thumbnail(const ApiContext& context, const std::shared_ptr<Call>& call) {
  const GalleryItem& item = item_of(context, *call);
  const auto width = static_cast<int>(call->number("width", 16, kLargestThumbnail, kThumbnail));
  on_pool(context, call, [call, &item, width] {
    const std::string tag = fmt::format("{}-t{}", Gallery::photo_tag(item), width);
    if (answer_unchanged(*call, tag)) return;
    const Image photo = Gallery::photo(item, {1, width, nullptr}, {});
    const auto jpeg = encode_jpeg(reduce(photo, width), kThumbnailQuality);
    answer_tagged(*call, tag, "image/jpeg", {jpeg.begin(), jpeg.end()});
  });
}

std::shared_ptr<ServedModel> model_of_call(const ApiContext& context, Call& call) {
  auto model = model_of(context, call.parameter("model"));
  call.model = fmt::format("{}:{}", model->name(), model->version());
  return model;
}

void require_labeled(const GalleryItem& item) {
  if (!item.labeled) throw HttpError(404, "this image has no mask");
}

void give_mask(const ApiContext& context, const std::shared_ptr<Call>& call) {
  const GalleryItem& item = item_of(context, *call);
  require_labeled(item);
  const auto model = model_of_call(context, *call);
  on_pool(context, call, [&context, call, &item, model] {
    const std::string tag = fmt::format("{}-{}", context.gallery->tag(item), model->digest());
    if (answer_unchanged(*call, tag)) return;
    std::vector<Rgb> palette = model->info().palette;
    palette.resize(256, kIgnoredColor);
    const auto png = encode_png(context.gallery->labels(item, model->info()), palette);
    answer_tagged(*call, tag, "image/png", {png.begin(), png.end()});
  });
}

/// Counts a photo of which an answer has been made.
void count_done(const ApiContext& context, Call& call, const SegmentationResult& result,
                std::chrono::nanoseconds encode) {
  context.monitor.segmented(*call.inference->model, result, encode);
  call.inference->add(result.times(encode));
}

/// Begins the prediction of an item; `then` counts it as done and answers.
void predict(const ApiContext& context, const std::shared_ptr<Call>& call, const GalleryItem& item,
             const std::shared_ptr<ServedModel>& model, bool shown, bool confidence,
             std::function<void(SegmentationResult&)> then) {
  SegmentationRequest request;
  request.model = model;
  request.wishes.confidence = confidence;
  request.deadline = call->received() + context.options.deadline;
  request.abandoned = [call] { return call->abandoned(); };
  request.decode = [&item, model, shown](const ImageLimits& limits) {
    try {
      return Gallery::decode(item, {model->info().height, model->info().width, false, shown},
                             limits);
    } catch (const InputError& error) {
      throw RunError("a photo of the gallery cannot be used", error.what(), "");
    }
  };
  context.segmentation.run(std::move(request), [&context, call, model, then = std::move(then)](
                                                   SegmentationResult& result) {
    answer_errors(context, *call, [&] {
      call->inference = {model, {}};
      require_done(context, result);
      try {
        then(result);
      } catch (const InputError& error) {
        throw RunError("a mask of the gallery cannot be used", error.what(), "");
      }
    });
  });
}

/// Tells apart what may predict differently.
std::string predictor_tag(const ServedModel& model) {
  const Device device = model.options().device;
  return fmt::format("{}-{}-{}", model.digest(), device.kind == DeviceKind::cpu ? "cpu" : "cuda",
                     model.precision());
}

void give_prediction(const ApiContext& context, const std::shared_ptr<Call>& call) {
  const GalleryItem& item = item_of(context, *call);
  const auto model = model_of_call(context, *call);
  const std::string name = call->choice("format", kAnswerFormats);
  const auto format =
      static_cast<AnswerFormat>(std::ranges::find(kAnswerFormats, name) - kAnswerFormats.begin());
  const bool confidence = call->flag("confidence");
  on_pool(context, call, [&context, call, &item, model, name, format, confidence] {
    const std::string tag = fmt::format("{}-{}-{}{}", Gallery::photo_tag(item),
                                        predictor_tag(*model), name, confidence ? "-c" : "");
    if (answer_unchanged(*call, tag)) return;
    predict(context, call, item, model, format == AnswerFormat::overlay, confidence,
            [&context, call, model, format, tag, confidence](SegmentationResult& result) {
              const auto begun = Clock::now();
              HttpResponse response{
                  200,
                  std::string(media_type(format)),
                  encode_mask(format, result.prediction, result.photo.whole, model->info(), false),
                  {}};
              if (confidence) {
                const std::array<SentPart, 2> parts{
                    SentPart{"mask", response.content_type, std::move(response.body)},
                    SentPart{"confidence", "image/png", encode_confidence(result.prediction)}};
                MultipartBody body = make_multipart(parts);
                response.content_type = std::move(body.content_type);
                response.body = std::move(body.body);
              }
              const auto encode = Clock::now() - begun;
              count_done(context, *call, result, encode);
              add_stages(response, result, encode, *model);
              answer_tagged(*call, tag, std::move(response));
            });
  });
}

/// Photo, mask and model as they are.
std::string score_key(const Gallery& gallery, const GalleryItem& item, const ServedModel& model) {
  return fmt::format("{}-{}", gallery.tag(item), predictor_tag(model));
}

Json class_ious(const SegmentationMetrics& metrics) {
  Json ious = Json::array();
  for (const ClassMetrics& c : metrics.classes) ious.push_back(json_number(c.iou));
  return ious;
}

Json metrics_of(const GalleryItem& item, const ServedModel& model, const ConfusionMatrix& matrix) {
  const auto metrics = compute_metrics(matrix, AbsentRule::drop);
  Json iou = Json::object();
  for (size_t c = 0; c < metrics.classes.size(); ++c) {
    iou[model.info().class_names[c]] = json_number(metrics.classes[c].iou);
  }
  Json rows = Json::array();
  for (int label = 0; label < matrix.classes(); ++label) {
    Json row = Json::array();
    for (int c = 0; c < matrix.classes(); ++c) row.push_back(matrix.at(label, c));
    rows.push_back(std::move(row));
  }
  return {{"id", item.id},
          {"model", model.name()},
          {"pixel_accuracy", json_number(metrics.pixel_accuracy().value)},
          {"miou", json_number(metrics.mean_iou().value)},
          {"iou", std::move(iou)},
          {"confusion", std::move(rows)}};
}

/// Requires masks of one size.
ConfusionMatrix compare(const Image& labels, const Prediction& prediction, int classes) {
  ConfusionMatrix matrix(classes);
  for (size_t p = 0; p < labels.pixels.size(); ++p) {
    if (labels.pixels[p] < classes) matrix.add(labels.pixels[p], prediction.classes[p]);
  }
  return matrix;
}

void give_metrics(const ApiContext& context, const std::shared_ptr<Call>& call) {
  const GalleryItem& item = item_of(context, *call);
  require_labeled(item);
  const auto model = model_of_call(context, *call);
  on_pool(context, call, [&context, call, &item, model] {
    const std::string key = score_key(*context.gallery, item, *model);
    if (answer_unchanged(*call, key)) return;
    const auto answer = [call, &item, model, key](const ConfusionMatrix& matrix) {
      answer_tagged(*call, key, json_response(metrics_of(item, *model, matrix)));
    };
    if (const auto known = context.scores.find(key)) return answer(*known);
    predict(context, call, item, model, false, false,
            [&context, call, &item, model, key, answer](SegmentationResult& result) {
              const auto begun = Clock::now();
              const Image labels = context.gallery->labels(item, model->info());
              const Prediction& prediction = result.prediction;
              if (labels.height != prediction.height || labels.width != prediction.width) {
                throw HttpError(404, "this image's mask has another size");
              }
              const ConfusionMatrix matrix = compare(labels, prediction, model->classes());
              context.scores.put(key, matrix);
              count_done(context, *call, result, Clock::now() - begun);
              answer(matrix);
            });
  });
}

/// What is known of the photos so far, one by one and together.
void list_scores(const ApiContext& context, Call& call) {
  const std::string_view split = call.parameter("split");
  const auto model = model_of_call(context, call);
  ConfusionMatrix all(model->classes());
  Json images = Json::array();
  for (const GalleryItem& item : context.gallery->items()) {
    if (!item.labeled || (!split.empty() && item.split != split)) continue;
    const auto matrix = context.scores.find(score_key(*context.gallery, item, *model));
    if (!matrix) continue;
    all += *matrix;
    const auto metrics = compute_metrics(*matrix, AbsentRule::drop);
    images.push_back({{"id", item.id},
                      {"miou", json_number(metrics.mean_iou().value)},
                      {"iou", class_ious(metrics)}});
  }
  const auto metrics = compute_metrics(all, AbsentRule::drop);
  call.answer(json_response({{"model", model->name()},
                             {"classes", model->info().class_names},
                             {"miou", json_number(metrics.mean_iou().value)},
                             {"iou", class_ious(metrics)},
                             {"images", std::move(images)}}));
}

}  // namespace

void add_gallery_routes(Router& router, const ApiContext& context) {
  const auto add = [&](const char* pattern, const char* summary,
                       std::vector<RouteParameter> parameters, std::vector<std::string> gives,
                       bool works, auto handle) {
    Route route;
    route.method = "GET";
    route.pattern = pattern;
    route.summary = summary;
    route.parameters = std::move(parameters);
    route.gives = std::move(gives);
    route.works = works;
    route.handle = [&context, handle](const std::shared_ptr<Call>& call) { handle(context, call); };
    router.add(std::move(route));
  };
  const Json text{{"type", "string"}};
  const auto number = [](int low, int high, int otherwise) {
    return Json{{"type", "integer"}, {"minimum", low}, {"maximum", high}, {"default", otherwise}};
  };
  const RouteParameter model{"model", text, "Another model than the first"};
  add("/v1/images", "The photos of the gallery, in a fixed order",
      {{"offset", number(0, INT32_MAX, 0), "How many to pass over"},
       {"limit", number(1, kLargestPage, kPage), "How many to give at most"},
       {"split", text, "Of one split alone"}},
      {"application/json"}, false,
      [](const ApiContext& c, const std::shared_ptr<Call>& call) { list_images(c, *call); });
  add("/v1/images/{id}", "A photo as it is", {}, {"image/png", "image/jpeg", "image/bmp"}, false,
      give_photo);
  add("/v1/images/{id}/thumbnail", "A photo, reduced",
      {{"width", number(16, kLargestThumbnail, kThumbnail), "At most so wide"}}, {"image/jpeg"},
      false, give_thumbnail);
  add("/v1/images/{id}/mask", "The labels of a photo, as numbers of the model's classes; 255: none",
      {model}, {"image/png"}, false, give_mask);
  add("/v1/images/{id}/prediction", "What a model makes of a photo",
      {model,
       {"format", Json{{"type", "string"}, {"enum", kAnswerFormats}, {"default", "png"}},
        "As of /v1/segment"},
       {"confidence", Json{{"type", "boolean"}, {"default", false}}, "As of /v1/segment"}},
      {"image/png", "application/json", "application/octet-stream", "multipart/mixed"}, true,
      give_prediction);
  add("/v1/images/{id}/metrics", "A prediction compared with the labels", {model},
      {"application/json"}, true, give_metrics);
  add("/v1/scores", "How good the predictions are that were compared so far",
      {model, {"split", text, "Of one split alone"}}, {"application/json"}, false,
      [](const ApiContext& c, const std::shared_ptr<Call>& call) {
        on_pool(c, call, [&c, call] { list_scores(c, *call); });  // it looks at every file
      });
}

}  // namespace macadam
