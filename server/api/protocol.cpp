// The Open Inference Protocol, version 2: what is served, and inference on tensors.

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/to_size.h"
#include "base/version.h"
#include "server/api/api.h"
#include "server/protocol/photo_tensors.h"
#include "server/protocol/tensors.h"

namespace macadam {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kMostPhotos = 32;  // of one request
/// Of the outputs of one request.
constexpr size_t kMostOutputBytes = size_t{512} << 20;

std::shared_ptr<ServedModel> model_of_path(const ApiContext& context, const Call& call) {
  return model_of(context, call.path("model"), call.path("version"));
}

Json metadata_of(const ApiContext& context, const ServedModel& model) {
  Json versions = Json::array();
  for (const auto& each : context.models.versions(model.name())) {
    versions.push_back(each->version());
  }
  const auto list = [](const std::vector<TensorDescription>& tensors) {
    Json entries = Json::array();
    for (const TensorDescription& tensor : tensors) {
      std::vector<int64_t> shape{-1};
      shape.insert(shape.end(), tensor.dims.begin(), tensor.dims.end());
      entries.push_back(
          {{"name", tensor.name}, {"datatype", name_of(tensor.type)}, {"shape", shape}});
    }
    return entries;
  };
  return {{"name", model.name()},
          {"versions", std::move(versions)},
          {"platform", "macadam"},
          {"inputs", list(described_inputs(model.info()))},
          {"outputs", list(described_outputs(model.info()))},
          {"properties",
           {{"metadata", python_metadata(model.info())},
            {"alternative_inputs", alternative_inputs()}}}};
}

/// As Triton's clients ask for it: dimensions without the batch.
Json config_of(const ServedModel& model) {
  const auto list = [](const std::vector<TensorDescription>& tensors) {
    Json entries = Json::array();
    for (const TensorDescription& tensor : tensors) {
      const std::string type = tensor.type == TensorType::bytes
                                   ? "TYPE_STRING"
                                   : fmt::format("TYPE_{}", name_of(tensor.type));
      entries.push_back({{"name", tensor.name}, {"data_type", type}, {"dims", tensor.dims}});
    }
    return entries;
  };
  return {{"name", model.name()},
          {"platform", "macadam"},
          {"backend", "macadam"},
          {"max_batch_size", kMostPhotos},
          {"input", list(described_inputs(model.info()))},
          {"output", list(described_outputs(model.info()))},
          {"dynamic_batching", {{"preferred_batch_size", {model.max_batch()}}}},
          {"parameters", {{"metadata", {{"string_value", python_metadata(model.info())}}}}}};
}

Json sum_json(const ModelStatistics::Sum& sum) {
  return {{"count", sum.count}, {"ns", sum.nanoseconds}};
}

Json statistics_of(const ServedModel& model) {
  const ModelStatistics all = model.statistics();
  Json batches = Json::array();
  for (const auto& batch : all.batches) {
    batches.push_back({{"batch_size", batch.size},
                       {"compute_input", sum_json({batch.infer.count, 0})},
                       {"compute_infer", sum_json(batch.infer)},
                       {"compute_output", sum_json({batch.infer.count, 0})}});
  }
  return {{"name", model.name()},
          {"version", model.version()},
          {"last_inference", all.last_inference},
          {"inference_count", all.images},
          {"execution_count", all.executions},
          {"inference_stats",
           {{"success", sum_json(all.success)},
            {"fail", sum_json(all.failure)},
            {"queue", sum_json(all.queue)},
            {"compute_input", sum_json(all.decode)},
            {"compute_infer", sum_json(all.infer)},
            {"compute_output", sum_json(all.encode)}}},
          {"batch_stats", std::move(batches)}};
}

/// A request for inference on its way through the stages.
class InferCall : public std::enable_shared_from_this<InferCall> {
 public:
  InferCall(std::shared_ptr<Call> call, const ApiContext& context,
            std::shared_ptr<ServedModel> model)
      : call_(std::move(call)), context_(context), model_(std::move(model)) {}

  /// Reads the request and begins its photos.
  void start() {
    body_ = unpacked_body(context_, call_);
    const HttpRequest& http = call_->request();
    const char* const kField = "Inference-Header-Content-Length";
    if (http.count(kField) > 1) throw HttpError(400, fmt::format("{} is said once", kField));
    const auto field = http.field(kField);
    const size_t json_bytes = field ? json_bytes_of(*field, body_->size()) : body_->size();
    request_ = field && json_bytes == 0 ? raw_request(*body_)
                                        : parse_infer_request(*body_, json_bytes, {});
    choose_outputs();
    const PhotoTensor photos(request_.inputs, model_->info(), kMostPhotos);
    results_.resize(to_size(photos.count()));
    left_ = results_.size();
    for (int i = 0; i < photos.count(); ++i) begin(i, photos);
  }

 private:
  void choose_outputs() {
    const auto known = described_outputs(model_->info());
    if (request_.outputs.empty()) {
      for (const TensorDescription& output : known) {
        request_.outputs.push_back({output.name, request_.binary_outputs});
      }
    }
    for (const RequestedOutput& output : request_.outputs) {
      if (std::ranges::find(known, output.name, &TensorDescription::name) == known.end()) {
        throw HttpError(400, "the model has no such output; it has scores, mask and confidence");
      }
    }
  }

  /// Of the answer, a pixel of a photo, at most.
  size_t answer_bytes() const {
    size_t bytes = 0;
    for (const RequestedOutput& output : request_.outputs) {
      const bool scores = output.name == kScoresOutput;
      bytes += (scores ? to_size(model_->classes()) : 1) *
               value_bytes(scores ? TensorType::fp32 : TensorType::uint8, output.binary);
    }
    return bytes;
  }

  /// Refuses what would be too large, of so many photos of this size.
  void check_size(const DecodedPhoto& photo) const {
    const size_t pixels = results_.size() * to_size(photo.height) * to_size(photo.width);
    if (pixels * answer_bytes() > kMostOutputBytes) {
      throw HttpError(400,
                      "the outputs would be larger than 512 MiB: ask for the mask alone, or for "
                      "binary data");
    }
    const size_t scores = wants(kScoresOutput) ? to_size(model_->classes()) * sizeof(float) : 0;
    if (results_.size() > 1 &&
        pixels * (answer_bytes() + 2 * scores) > context_.segmentation.memory().all()) {
      throw HttpError(413, "the server cannot hold so many photos at once: send fewer");
    }
  }

  bool wants(std::string_view output) const {
    return std::ranges::find(request_.outputs, output, &RequestedOutput::name) !=
           request_.outputs.end();
  }

  void begin(int i, const PhotoTensor& photos) {
    SegmentationRequest request;
    request.model = model_;
    request.wishes = {false, wants(kConfidenceOutput), wants(kScoresOutput)};
    request.answer_bytes = answer_bytes();
    request.deadline = call_->received() + context_.options.deadline;
    request.abandoned = [call = call_] { return call->abandoned(); };
    request.decode = [self = shared_from_this(), photos, i](const ImageLimits& limits) {
      DecodedPhoto photo = photos.decode(i, limits);
      self->check_size(photo);
      return photo;
    };
    context_.segmentation.run(std::move(request), [self = shared_from_this(), i](auto& result) {
      self->end(to_size(i), result);
    });
  }

  void end(size_t i, SegmentationResult& result) {
    const std::lock_guard lock(mutex_);
    results_[i] = std::move(result);
    if (--left_ == 0) answer_errors(context_, *call_, [this] { answer(); });
  }

  void answer() {
    const auto begun = Clock::now();
    call_->inference = {model_, {}};
    for (const SegmentationResult& result : results_) require_done(context_, result);
    std::vector<const Prediction*> predictions;
    for (const SegmentationResult& result : results_) predictions.push_back(&result.prediction);
    std::vector<OutputTensor> outputs;
    for (const RequestedOutput& wanted : request_.outputs) {
      outputs.push_back(make_output(wanted.name, predictions, model_->classes()));
      outputs.back().binary = wanted.binary;
    }
    InferResponse made =
        make_infer_response(model_->name(), model_->version(), request_.id, outputs);
    HttpResponse response;
    response.content_type = "application/json";
    if (made.json_bytes < made.body.size()) {
      response.content_type = "application/octet-stream";
      response.fields.emplace_back("Inference-Header-Content-Length",
                                   std::to_string(made.json_bytes));
    }
    response.body = std::move(made.body);
    const auto encode = Clock::now() - begun;  // of all photos together
    for (const SegmentationResult& result : results_) {
      context_.monitor.segmented(*model_, result, encode / static_cast<int>(results_.size()));
      call_->inference->add(result.times(encode));
    }
    call_->answer(std::move(response));
  }

  const std::shared_ptr<Call> call_;
  const ApiContext& context_;
  const std::shared_ptr<ServedModel> model_;
  std::shared_ptr<const std::string> body_;
  InferRequest request_;  // views of the body
  std::mutex mutex_;
  std::vector<SegmentationResult> results_;
  size_t left_ = 0;
};

void infer(const ApiContext& context, const std::shared_ptr<Call>& call) {
  const auto model = model_of_path(context, *call);
  call->model = fmt::format("{}:{}", model->name(), model->version());
  const auto work = std::make_shared<InferCall>(call, context, model);
  context.segmentation.post(
      [&context, call, work] { answer_errors(context, *call, [&] { work->start(); }); });
}

}  // namespace

void add_protocol_routes(Router& router, const ApiContext& context) {
  router.add(get_route(
      "/v2", "The server: Open Inference Protocol, version 2",
      [](const std::shared_ptr<Call>& call) {
        call->answer(json_response(
            {{"name", "macadam"},
             {"version", version()},
             {"extensions", {"binary_tensor_data", "model_configuration", "statistics"}}}));
      }));

  router.add(get_route("/v2/models/stats", "What all models have done",
                       [&context](const std::shared_ptr<Call>& call) {
                         Json list = Json::array();
                         for (const auto& model : context.models.all())
                           list.push_back(statistics_of(*model));
                         call->answer(json_response({{"model_stats", std::move(list)}}));
                       }));

  for (const std::string base : {"/v2/models/{model}", "/v2/models/{model}/versions/{version}"}) {
    router.add(get_route(base, "A model: its inputs and outputs",
                         [&context](const std::shared_ptr<Call>& call) {
                           const auto model = model_of_path(context, *call);
                           call->answer(json_response(metadata_of(context, *model)));
                         }));

    Route ready =
        get_route(base + "/ready", "Whether a model is loaded and warm",
                  [&context](const std::shared_ptr<Call>& call) {
                    const auto model = model_of_path(context, *call);
                    call->answer(json_response({{"name", model->name()}, {"ready", true}}));
                  });
    ready.open = true;
    router.add(std::move(ready));

    router.add(get_route(base + "/config", "A model as Triton's clients ask for it",
                         [&context](const std::shared_ptr<Call>& call) {
                           call->answer(json_response(config_of(*model_of_path(context, *call))));
                         }));

    router.add(get_route(base + "/stats",
                         "What a model has done: all of its versions, unless one is named",
                         [&context](const std::shared_ptr<Call>& call) {
                           auto models = context.models.versions(call->path("model"));
                           if (models.empty() || !call->path("version").empty()) {
                             models = {model_of_path(context, *call)};
                           }
                           Json list = Json::array();
                           for (const auto& model : models) list.push_back(statistics_of(*model));
                           call->answer(json_response({{"model_stats", std::move(list)}}));
                         }));

    Route inference;
    inference.method = "POST";
    inference.pattern = base + "/infer";
    inference.summary = "Scores, masks and confidence of photos, as tensors";
    inference.takes = {"application/json", "application/octet-stream"};
    inference.gives = {"application/json", "application/octet-stream"};
    inference.works = true;
    inference.handle = [&context](const std::shared_ptr<Call>& call) { infer(context, call); };
    router.add(std::move(inference));
  }
}

}  // namespace macadam
