#include "server/view/view_handler.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/version.h"
#include "server/api/call.h"
#include "server/http/target.h"
#include "server/view/origin_guard.h"
#include "server/view/page_files.h"

namespace macadam {

namespace {

using Json = nlohmann::ordered_json;

/// What the page may do: nothing that is not in its own files.
constexpr std::string_view kPagePolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'";
/// What a run's report may: it has a style of its own and pictures within, and no script.
constexpr std::string_view kReportPolicy =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; sandbox allow-popups";
constexpr std::string_view kDataPolicy = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// Of the fields that come from a browser, those that the API is told.
constexpr std::array<std::string_view, 6> kAsked{
    "Accept", "Content-Type", "Content-Encoding", "If-None-Match", "X-Request-Id", "traceparent"};
/// Of those that come from the API, what the browser is told.
constexpr std::array<std::string_view, 8> kAnswered{
    "ETag",         "Cache-Control", "Server-Timing", "X-Request-Id",
    "X-Batch-Size", "X-Model",       "Retry-After",   "Allow"};

bool is_one_of(std::string_view name, std::span<const std::string_view> names) {
  return std::ranges::any_of(names, [&](auto other) { return same_field(name, other); });
}

/// Whether a path of the API is for the page: photos and masks, what the models are, and whether
/// the API is well. Its counters and its tensors are not.
bool is_public(const HttpRequest& request) {
  if (!request.target.starts_with("/api/")) return false;  // as it is sent on: not as it reads
  const std::vector<std::string> path = parse_target(request.target)->path;
  if (path.size() < 2) return false;
  if (std::ranges::any_of(path, [](const std::string& s) { return s == "." || s == ".."; })) {
    return false;
  }
  if (path[1] == "v1") return path.size() > 2;
  return path[1] == "v2" && (path.size() == 2 || path[2] == "health");
}

bool is_segment(const HttpRequest& request) {
  return is_public(request) && request.target.starts_with("/api/v1/segment");
}

HttpResponse unchanged_or(const HttpRequest& request, HttpResponse response,
                          const std::string& tag) {
  if (request.field("If-None-Match").value_or("").find(tag) != std::string_view::npos) {
    response = {304, "", "", {}};
  }
  response.fields.emplace_back("ETag", tag);
  return response;
}

HttpResponse page_file(const HttpRequest& request, std::string_view name) {
  const auto files = page_files();
  const auto file = std::ranges::find(files, name, &PageFile::name);
  if (file == files.end()) return error_response(404, "there is no such page");
  const std::string tag = fmt::format("\"{:x}\"", std::hash<std::string_view>{}(file->content));
  HttpResponse response{200, std::string(file->content_type), std::string(file->content), {}};
  response = unchanged_or(request, std::move(response), tag);
  response.fields.emplace_back("Content-Security-Policy", kPagePolicy);
  response.fields.emplace_back("Permissions-Policy",
                               "camera=(self), microphone=(), geolocation=()");
  response.fields.emplace_back("Cross-Origin-Opener-Policy", "same-origin");
  return response;
}

/// What every answer says, unless it has said something else.
void add_safety(HttpResponse& response) {
  const auto add = [&](std::string_view name, std::string_view value) {
    const bool there = std::ranges::any_of(
        response.fields, [&](const auto& f) { return same_field(f.first, name); });
    if (!there) response.fields.emplace_back(name, value);
  };
  add("X-Content-Type-Options", "nosniff");
  add("Content-Security-Policy", kDataPolicy);
  add("Cross-Origin-Resource-Policy", "same-origin");
  add("Referrer-Policy", "no-referrer");
  add("Cache-Control", "no-cache");
}

}  // namespace

std::optional<HttpResponse> ViewHandler::refuse(const HttpRequest& head) {
  const auto refused = [&]() -> std::optional<HttpResponse> {
    const auto target = parse_target(head.target);
    if (!target) return error_response(400, "the target of the request is not well-formed");
    // A balancer asks by whatever address it has.
    const bool health = target->path == std::vector<std::string>{"health"};
    if (!health && !is_own_host(head.field("Host").value_or(""), names_)) {
      return error_response(421, "this is not the host that the request names (see --names)");
    }
    if (head.method == "GET" || head.method == "HEAD") return std::nullopt;
    if (head.method == "POST" && is_segment(head)) {
      if (!is_cross_site(head)) return std::nullopt;
      return error_response(403, "another site's page has sent this");
    }
    HttpResponse response = error_response(405, "this can only be read");
    response.fields.emplace_back("Allow", "GET, HEAD");
    return response;
  };
  std::optional<HttpResponse> response = refused();
  if (response) {
    add_safety(*response);
    log(head, *response, {});
  }
  return response;
}

void ViewHandler::handle(std::shared_ptr<Exchange> exchange) {
  const HttpRequest& request = exchange->request();
  if (is_public(request)) return ask_api(exchange);
  HttpResponse response;
  try {
    response = answer(request);
  } catch (const InputError& error) {
    monitor_.log("missing", {{"target", request.target}, {"what", error.what()}});
    response = error_response(404, "this is not there");
  } catch (const std::exception& error) {
    monitor_.log("failure", {{"target", request.target}, {"what", error.what()}});
    response = error_response(500, "the request could not be answered");
  }
  add_safety(response);
  log(request, response, std::chrono::steady_clock::now() - exchange->received());
  exchange->respond(std::move(response));
}

HttpResponse ViewHandler::answer_fault(const RequestFault& fault, const HttpRequest&) {
  HttpResponse response = error_response(fault.status, fault.reason);
  add_safety(response);
  return response;
}

HttpResponse ViewHandler::answer(const HttpRequest& request) const {
  const std::vector<std::string> path = parse_target(request.target)->path;
  if (path.empty()) return page_file(request, "index.html");
  if (path.front() == "runs") return answer_runs(path);
  if (path.size() > 1) return error_response(404, "there is no such page");
  if (path.front() == "health") return {200, "text/plain", "ok\n", {}};
  if (path.front() == "viewer.json") {
    return json_response({{"version", version()}, {"runs", runs_ != nullptr}});
  }
  return page_file(request, path.front());
}

HttpResponse ViewHandler::answer_runs(const std::vector<std::string>& path) const {
  if (runs_ == nullptr) return error_response(404, "no folder of runs is shown (see --runs)");
  if (path.size() == 1) return json_response(runs_->list());
  const auto run = runs_->find(path[1]);
  if (!run) return error_response(404, "there is no run of this name");
  if (path.size() == 3 && path[2] == "history") return json_response(RunShelf::history(*run));
  if (path.size() == 3 && path[2] == "scores") return json_response(RunShelf::scores(*run));
  if (path.size() == 3 && path[2] == "report") {
    HttpResponse response{200, "text/html; charset=utf-8", RunShelf::report(*run), {}};
    response.fields.emplace_back("Content-Security-Policy", kReportPolicy);
    return response;
  }
  if (path.size() == 4 && path[2] == "samples") {
    return {200, "image/png", RunShelf::sample(*run, path[3]), {}};
  }
  if (path.size() == 5 && path[2] == "epochs") {
    return {200, "image/png", RunShelf::epoch_sample(*run, path[3], path[4]), {}};
  }
  return error_response(404, "a run has no such part");
}

void ViewHandler::ask_api(const std::shared_ptr<Exchange>& exchange) {
  const HttpRequest& request = exchange->request();
  HttpQuestion asked;
  asked.method = request.method;
  asked.target = request.target.substr(std::string_view("/api").size());
  for (const auto& [name, value] : request.fields) {
    if (is_one_of(name, kAsked)) asked.fields.emplace_back(name, value);
  }
  asked.lent_body = {exchange, &request.body};
  asked.abandoned = [exchange] { return exchange->abandoned(); };
  api_.ask(std::move(asked), [this, exchange](HttpResponse response) {
    if (!exchange->make_room(response.body.size())) {
      response = error_response(503, "as many answers as there is room for wait, try again");
    }
    std::erase_if(response.fields, [&](const auto& f) {
      const bool length = response.head_alone && same_field(f.first, "Content-Length");
      return !length && !is_one_of(f.first, kAnswered);
    });
    add_safety(response);
    log(exchange->request(), response, std::chrono::steady_clock::now() - exchange->received());
    exchange->respond(std::move(response));
  });
}

void ViewHandler::log(const HttpRequest& request, const HttpResponse& response,
                      std::chrono::nanoseconds time) {
  monitor_.answered({.id = std::string(request.field("X-Request-Id").value_or("")),
                     .method = request.method,
                     .target = request.target,
                     .route = "view",
                     .model = {},
                     .agent = std::string(request.field("User-Agent").value_or("")),
                     .traceparent = {},
                     .status = response.status,
                     .time = time,
                     .bytes_in = request.body.size(),
                     .bytes_out = response.body.size()});
}

}  // namespace macadam
