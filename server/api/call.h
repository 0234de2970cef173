#pragma once
// One call of the API: the request, what its route made of the path, and the answer.

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/http_error.h"
#include "server/http/http_server.h"
#include "server/http/target.h"
#include "server/service/served_model.h"

namespace macadam {

HttpResponse json_response(const nlohmann::ordered_json& value, int status = 200);
HttpResponse error_response(int status, std::string_view text);

/// What a call had a model do.
struct Inference {
  std::shared_ptr<ServedModel> model;
  std::optional<StageTimes> times;  // of the slowest photo; nothing while none is done

  /// Adds a photo that is done.
  void add(const StageTimes& photo);
};

class Call {
 public:
  /// Told of the answer, before it is sent.
  using Answered = std::function<void(const Call&, const HttpResponse&)>;

  Call(std::shared_ptr<Exchange> exchange, std::string id, Answered answered)
      : exchange_(std::move(exchange)), id_(std::move(id)), answered_(std::move(answered)) {}

  const HttpRequest& request() const { return exchange_->request(); }
  std::chrono::steady_clock::time_point received() const { return exchange_->received(); }
  bool abandoned() const { return exchange_->abandoned(); }
  const std::string& id() const { return id_; }

  /// A segment of the path that the route names.
  const std::string& path(std::string_view name) const;
  /// A parameter of the query; empty when it is not there.
  std::string_view parameter(std::string_view name) const;
  /// "1", "true" or nothing after the name; false without it. Throws HttpError for other values.
  bool flag(std::string_view name) const;
  /// One of the words; the first when it is not there. Throws HttpError for others.
  std::string choice(std::string_view name, std::span<const std::string_view> words) const;
  /// A number in [low, high], `otherwise` when it is not there. Throws HttpError for others.
  int64_t number(std::string_view name, int64_t low, int64_t high, int64_t otherwise) const;

  /// Sends the answer, with the call's id; what comes after the first is dropped. From any thread.
  void answer(HttpResponse response);
  void fail(int status, std::string_view text) { answer(error_response(status, text)); }

  // Set by the router.
  std::string route;  // its pattern: a name that clients cannot choose
  std::map<std::string, std::string, std::less<>> segments;
  std::vector<std::pair<std::string, std::string>> query;
  // Set before the answer, for the log and the counts.
  std::string model;
  bool refused = false;  // before anything was done for it
  std::optional<Inference> inference;
  bool no_room = false;  // for the answer, which says so

 private:
  std::shared_ptr<Exchange> exchange_;
  const std::string id_;
  const Answered answered_;
  std::atomic<bool> done_ = false;
};

}  // namespace macadam
