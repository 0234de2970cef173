#include "server/api/api.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "base/error.h"
#include "image/deflate.h"

namespace macadam {

namespace {

/// Whether two secrets are the same, in a time that does not depend on where they differ.
bool same_secret(std::string_view left, std::string_view right) {
  unsigned difference = left.size() == right.size() ? 0 : 1;
  for (size_t i = 0; i < left.size(); ++i) {
    const char other = right.empty() ? '\0' : right[i % right.size()];
    difference |= static_cast<unsigned char>(left[i]) ^ static_cast<unsigned char>(other);
  }
  return difference == 0;
}

/// A client's own id, when it is short and harmless.
bool is_id(std::string_view text) {
  constexpr size_t kLongest = 128;
  return !text.empty() && text.size() <= kLongest &&
         std::ranges::all_of(text, [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

Rejection rejection_of(RequestFault::Kind kind) {
  switch (kind) {
    case RequestFault::Kind::malformed: break;
    case RequestFault::Kind::memory: return Rejection::memory;
    case RequestFault::Kind::connections: return Rejection::connections;
    case RequestFault::Kind::dropped: return Rejection::dropped;
  }
  return Rejection::malformed_http;
}

}  // namespace

/// A call's place among those that work.
class Api::Slot {
 public:
  Slot(std::atomic<int>& working, int limit) : working_(working) {
    if (++working_ > limit) {
      --working_;
      throw HttpError(503, "the server has as many requests as it takes, try again");
    }
  }
  ~Slot() { --working_; }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

 private:
  std::atomic<int>& working_;
};

Api::Api(ModelRegistry& models, Segmentation& segmentation, Monitor& monitor,
         const Gallery* gallery, const ApiOptions& options)
    : models_(models),
      monitor_(monitor),
      options_(options),
      context_{models,
               segmentation,
               monitor,
               gallery,
               scores_,
               options_,
               router_,
               [this] { return ready(); },
               [this] { return working(); }},
      ids_((uint64_t{std::random_device{}()} << 32) | std::random_device{}()) {
  add_health_routes(router_, context_);
  add_segment_routes(router_, context_);
  add_model_routes(router_, context_);
  if (gallery != nullptr) add_gallery_routes(router_, context_);
  add_protocol_routes(router_, context_);
  add_openapi_route(router_, context_);
}

void Api::authorize(const Route& route, const HttpRequest& request) {
  if (options_.token.empty() || route.open) return;
  constexpr std::string_view kScheme = "Bearer ";
  const std::string_view given = request.field("Authorization").value_or("");
  if (given.size() > kScheme.size() && same_field(given.substr(0, kScheme.size()), kScheme) &&
      same_secret(given.substr(kScheme.size()), options_.token)) {
    return;
  }
  monitor_.rejected(Rejection::unauthorized);
  throw HttpError(401, "this needs the token of this server");
}

std::optional<HttpResponse> Api::refuse(const HttpRequest& head) {
  std::string route_name = "none";
  HttpResponse response;
  try {
    const Router::Match match = router_.match(head);
    route_name = match.route->pattern;
    authorize(*match.route, head);
    const std::string_view coding = head.field("Content-Encoding").value_or("identity");
    if (!same_field(coding, "identity") && !same_field(coding, "gzip") &&
        !same_field(coding, "deflate")) {
      throw HttpError(415, "a body is sent as it is, or as gzip or deflate");
    }
    if (match.route->works && working_ >= options_.queue) {
      monitor_.rejected(Rejection::queue_full);
      throw HttpError(503, "the server has as many requests as it takes, try again");
    }
    return std::nullopt;
  } catch (const HttpError& error) {
    response = error_response(error.status(), error.what());
    if (error.status() == 405) {
      response.fields.emplace_back("Allow", router_.methods_of(*parse_target(head.target)));
    }
  }
  response.fields.emplace_back("X-Request-Id", id_of(head));
  monitor_.answered({.id = response.fields.back().second,
                     .method = head.method,
                     .target = head.target,
                     .route = route_name,
                     .model = {},
                     .agent = std::string(head.field("User-Agent").value_or("")),
                     .traceparent = std::string(head.field("traceparent").value_or("")),
                     .status = response.status,
                     .refused = true,
                     .time = {},
                     .bytes_in = 0,
                     .bytes_out = response.body.size()});
  return response;
}

void Api::handle(std::shared_ptr<Exchange> exchange) {
  const std::string id = id_of(exchange->request());
  const auto slot = std::make_shared<std::unique_ptr<Slot>>();
  const auto call = std::make_shared<Call>(
      std::move(exchange), id, [this, slot](const Call& answered, const HttpResponse& response) {
        count(answered, response);
        slot->reset();
      });
  answer_errors(context_, *call, [&] {
    Router::Match match = router_.match(call->request());
    call->route = match.route->pattern;
    call->segments = std::move(match.segments);
    call->query = std::move(match.target.query);
    if (match.route->works) {
      try {
        *slot = std::make_unique<Slot>(working_, options_.queue);
        ++begun_;
      } catch (const HttpError&) {
        monitor_.rejected(Rejection::queue_full);
        call->refused = true;
        throw;
      }
    }
    match.route->handle(call);
  });
}

void Api::count(const Call& call, const HttpResponse& response) {
  const HttpRequest& request = call.request();
  const auto time = std::chrono::steady_clock::now() - call.received();
  if (call.no_room) monitor_.rejected(Rejection::memory);
  if (call.inference) call.inference->model->count_request(call.inference->times, time);
  monitor_.answered({.id = call.id(),
                     .method = request.method,
                     .target = request.target,
                     .route = call.route.empty() ? "none" : call.route,
                     .model = call.model,
                     .agent = std::string(request.field("User-Agent").value_or("")),
                     .traceparent = std::string(request.field("traceparent").value_or("")),
                     .status = response.status,
                     .refused = call.refused,
                     .time = time,
                     .bytes_in = request.body.size(),
                     .bytes_out = response.body.size()});
}

HttpResponse Api::answer_fault(const RequestFault& fault, const HttpRequest& head) {
  HttpResponse response = error_response(fault.status, fault.reason);
  const std::string id = id_of(head);
  response.fields.emplace_back("X-Request-Id", id);
  monitor_.log("refused", {{"id", id}, {"status", fault.status}, {"what", fault.reason}});
  monitor_.faulted(fault.status, rejection_of(fault.kind));
  return response;
}

std::string Api::id_of(const HttpRequest& request) {
  const std::string_view wished = request.field("X-Request-Id").value_or("");
  if (is_id(wished)) return std::string(wished);
  return fmt::format("{:016x}", ids_++ * 0x9E3779B97F4A7C15);
}

std::shared_ptr<ServedModel> model_of(const ApiContext& context, std::string_view name,
                                      std::string_view version) {
  auto model = name.empty() ? context.models.first() : context.models.find(name, version);
  if (model) return model;
  if (!context.models.ready()) throw HttpError(503, "the models are being loaded, try again");
  throw HttpError(404, "there is no model of this name and version");
}

HttpResponse current_error(const ApiContext& context, const Call& call) {
  try {
    throw;
  } catch (const NoMemoryError& error) {
    context.monitor.rejected(Rejection::memory);
    return error_response(error.status(), error.what());
  } catch (const HttpError& error) {
    return error_response(error.status(), error.what());
  } catch (const InputError& error) {
    return error_response(400, error.what());
  } catch (const std::bad_alloc&) {
    context.monitor.rejected(Rejection::memory);
    return error_response(503, "the server has not enough memory for this, try again");
  } catch (const std::exception& error) {
    context.monitor.log("failure", {{"id", call.id()}, {"what", error.what()}});
    return error_response(500, "the request could not be answered");
  }
}

void answer_errors(const ApiContext& context, Call& call, const std::function<void()>& work) {
  try {
    work();
  } catch (...) {
    call.answer(current_error(context, call));
  }
}

void require_done(const ApiContext& context, const SegmentationResult& result) {
  switch (result.end) {
    case JobEnd::done: return;
    case JobEnd::expired:
      context.monitor.rejected(Rejection::deadline);
      if (result.batch > 0) {
        throw HttpError(503, "the windows of the photo took too long: send it smaller");
      }
      throw HttpError(503, "the photo waited too long for the network, try again");
    case JobEnd::abandoned:
      context.monitor.rejected(Rejection::abandoned);
      throw HttpError(503, "the client has left");
    case JobEnd::stopped:
      context.monitor.rejected(Rejection::stopping);
      throw HttpError(503, "the server ends");
    case JobEnd::failed: break;
  }
  if (result.photo_fault) std::rethrow_exception(result.photo_fault);
  throw RunError("the network could not be run", result.fault, "");
}

std::shared_ptr<const std::string> unpacked_body(const ApiContext& context,
                                                 const std::shared_ptr<Call>& call) {
  const HttpRequest& request = call->request();
  const std::string_view coding = request.field("Content-Encoding").value_or("identity");
  if (same_field(coding, "identity")) return {call, &request.body};
  const auto unpacked = std::make_shared<std::string>();
  const std::span packed(reinterpret_cast<const uint8_t*>(request.body.data()),
                         request.body.size());
  const auto format = same_field(coding, "gzip") ? PackedFormat::gzip : PackedFormat::zlib;
  switch (unpack(packed, format, context.options.body_bytes, *unpacked)) {
    case InflateResult::exact: break;
    case InflateResult::too_long: throw HttpError(413, "the body is too large when it is unpacked");
    default: throw HttpError(400, "the compressed body is damaged");
  }
  const auto memory = context.segmentation.memory().hold(unpacked->size());
  if (!memory) throw NoMemoryError("the server has not enough memory for this, try again");
  const auto both =
      std::make_shared<std::pair<std::shared_ptr<std::string>, ByteBudget::Hold>>(unpacked, memory);
  return {both, unpacked.get()};
}

}  // namespace macadam
