#pragma once
// The API: who may call, how many at once, which route answers.

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/api/router.h"
#include "server/http/http_server.h"
#include "server/monitor/monitor.h"
#include "server/service/model_registry.h"
#include "server/service/score_book.h"
#include "server/service/segmentation.h"

namespace macadam {

class Gallery;

struct ApiOptions {
  int queue = 64;  // requests for predictions that are accepted and not answered; more: 503
  std::chrono::milliseconds deadline{10'000};  // for a prediction to begin, from the request's end
  size_t body_bytes = size_t{64} << 20;        // of a body, also unpacked
  std::string token;                           // clients send it as "Bearer ..."; empty: none
};

/// What the routes work with.
struct ApiContext {
  ModelRegistry& models;
  Segmentation& segmentation;
  Monitor& monitor;
  const Gallery* gallery;  // may be null
  ScoreBook& scores;       // of its photos
  const ApiOptions& options;
  const Router& router;
  std::function<bool()> ready;   // whether new requests are welcome
  std::function<int()> working;  // calls that work and are not answered
};

class Api : public HttpHandler {
 public:
  /// All outlive it; `gallery` may be null.
  Api(ModelRegistry& models, Segmentation& segmentation, Monitor& monitor, const Gallery* gallery,
      const ApiOptions& options);

  std::optional<HttpResponse> refuse(const HttpRequest& head) override;
  void handle(std::shared_ptr<Exchange> exchange) override;
  HttpResponse answer_fault(const RequestFault& fault, const HttpRequest& head) override;

  /// From now on not ready(): load balancers should send nobody any more.
  void leave() { leaving_ = true; }
  bool ready() const { return models_.ready() && !leaving_; }
  /// Calls that work and are not answered.
  int working() const { return working_; }
  /// Calls that have begun to work, so far.
  uint64_t begun() const { return begun_; }

 private:
  class Slot;

  /// Throws HttpError unless the request has the token, if there is one.
  void authorize(const Route& route, const HttpRequest& request);
  void count(const Call& call, const HttpResponse& response);
  /// The client's own, or a new one.
  std::string id_of(const HttpRequest& request);

  ModelRegistry& models_;
  Monitor& monitor_;
  const ApiOptions options_;
  ScoreBook scores_;
  Router router_;
  ApiContext context_;
  std::atomic<bool> leaving_ = false;
  std::atomic<int> working_ = 0;
  std::atomic<uint64_t> begun_ = 0;
  std::atomic<uint64_t> ids_;
};

// Each adds its routes. `context` outlives the router.
void add_health_routes(Router& router, const ApiContext& context);
void add_segment_routes(Router& router, const ApiContext& context);
void add_model_routes(Router& router, const ApiContext& context);
void add_gallery_routes(Router& router, const ApiContext& context);
void add_protocol_routes(Router& router, const ApiContext& context);
void add_openapi_route(Router& router, const ApiContext& context);

/// A model that a call names, or the first. Throws HttpError: 404 for none of that name or version,
/// 503 while it is being loaded.
std::shared_ptr<ServedModel> model_of(const ApiContext& context, std::string_view name,
                                      std::string_view version = {});

/// The answer that says what the exception being handled does: an HttpError as it is, an InputError
/// of a photo as 400, and anything else as 500, which goes to the log and not to the client. Want
/// of memory is counted.
HttpResponse current_error(const ApiContext& context, const Call& call);
/// Runs `work` and answers with current_error() when it throws.
void answer_errors(const ApiContext& context, Call& call, const std::function<void()>& work);

/// Throws what a segmentation that has not been done is answered with, and counts it.
void require_done(const ApiContext& context, const SegmentationResult& result);

/// A call's body, unpacked when it came compressed with gzip or deflate. Throws HttpError: 413
/// when it is larger than allowed then, 400 when it is damaged, 503 when there is no memory for it
/// now.
std::shared_ptr<const std::string> unpacked_body(const ApiContext& context,
                                                 const std::shared_ptr<Call>& call);

}  // namespace macadam
