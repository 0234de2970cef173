#include "server/api/call.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/json_text.h"
#include "base/text.h"

namespace macadam {

HttpResponse json_response(const nlohmann::ordered_json& value, int status) {
  return {
      .status = status, .content_type = "application/json", .body = json_text(value), .fields = {}};
}

HttpResponse error_response(int status, std::string_view text) {
  HttpResponse response = json_response({{"error", std::string(text)}}, status);
  if (status == 503) response.fields.emplace_back("Retry-After", "1");
  if (status == 401) response.fields.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

void Inference::add(const StageTimes& photo) {
  const auto whole = [](const StageTimes& t) { return t.queue + t.decode + t.infer + t.encode; };
  if (!times || whole(photo) > whole(*times)) times = photo;
}

const std::string& Call::path(std::string_view name) const {
  static const std::string kNone;
  const auto found = segments.find(name);
  return found == segments.end() ? kNone : found->second;
}

std::string_view Call::parameter(std::string_view name) const {
  const auto found = std::ranges::find(query, name, &std::pair<std::string, std::string>::first);
  return found == query.end() ? std::string_view() : found->second;
}

bool Call::flag(std::string_view name) const {
  static constexpr std::array<std::string_view, 5> kWords{"0", "false", "1", "true", ""};
  const auto found = std::ranges::find(query, name, &std::pair<std::string, std::string>::first);
  if (found == query.end()) return false;
  const auto word = std::ranges::find(kWords, found->second);
  if (word == kWords.end()) throw HttpError(400, fmt::format("'{}' is 0 or 1", name));
  return word - kWords.begin() >= 2;
}

std::string Call::choice(std::string_view name, std::span<const std::string_view> words) const {
  const std::string_view value = parameter(name);
  if (value.empty()) return std::string(words.front());
  if (std::ranges::find(words, value) == words.end()) {
    const std::vector<std::string> list(words.begin(), words.end());
    throw HttpError(400, fmt::format("'{}' is one of {}", name, joined(list)));
  }
  return std::string(value);
}

int64_t Call::number(std::string_view name, int64_t low, int64_t high, int64_t otherwise) const {
  const std::string_view value = parameter(name);
  if (value.empty()) return otherwise;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < low || number > high) {
    throw HttpError(400, fmt::format("'{}' is a number from {} to {}", name, low, high));
  }
  return number;
}

void Call::answer(HttpResponse response) {
  if (done_.exchange(true)) return;
  if (!exchange_->make_room(response.body.size())) {
    response = error_response(
        503, "clients have not taken as many answers as the server holds, try again");
    no_room = true;
    if (inference) inference->times.reset();
  }
  response.fields.emplace_back("X-Request-Id", id_);
  answered_(*this, response);
  exchange_->respond(std::move(response));
}

}  // namespace macadam
