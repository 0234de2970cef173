#include "server/api/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"

namespace macadam {

namespace {

using Segments = std::map<std::string, std::string, std::less<>>;

/// The parts of a path between its slashes.
std::vector<std::string_view> parts_of(std::string_view pattern) {
  std::vector<std::string_view> parts;
  pattern.remove_prefix(1);
  while (!pattern.empty()) {
    const size_t end = pattern.find('/');
    parts.push_back(pattern.substr(0, end));
    pattern.remove_prefix(end == std::string_view::npos ? pattern.size() : end + 1);
  }
  return parts;
}

std::optional<Segments> fit(const Route& route, const Target& target) {
  const auto parts = parts_of(route.pattern);
  if (parts.size() != target.path.size()) return std::nullopt;
  Segments segments;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].starts_with('{')) {
      if (target.path[i].empty()) return std::nullopt;
      segments.emplace(parts[i].substr(1, parts[i].size() - 2), target.path[i]);
    } else if (parts[i] != target.path[i]) {
      return std::nullopt;
    }
  }
  return segments;
}

bool takes_method(const Route& route, std::string_view method) {
  return route.method == method || (route.method == "GET" && method == "HEAD");
}

void check_query(const Route& route, const Target& target) {
  std::set<std::string_view> seen;
  for (const auto& [name, value] : target.query) {
    if (std::ranges::find(route.parameters, name, &RouteParameter::name) ==
        route.parameters.end()) {
      std::vector<std::string> names;
      for (const RouteParameter& parameter : route.parameters) names.push_back(parameter.name);
      throw HttpError(400, fmt::format("there is no parameter {}{}", quote(name),
                                       names.empty() ? "" : "; there are " + joined(names)));
    }
    if (!seen.insert(name).second) {
      throw HttpError(400, fmt::format("the parameter '{}' is given twice", name));
    }
  }
}

}  // namespace

Route get_route(std::string pattern, std::string summary,
                std::function<void(std::shared_ptr<Call>)> handle, std::string gives) {
  Route route;
  route.method = "GET";
  route.pattern = std::move(pattern);
  route.summary = std::move(summary);
  route.gives = {std::move(gives)};
  route.handle = std::move(handle);
  return route;
}

void Router::add(Route route) { routes_.push_back(std::move(route)); }

std::string Router::methods_of(const Target& target) const {
  std::vector<std::string> methods;
  for (const Route& route : routes_) {
    if (!fit(route, target)) continue;
    methods.push_back(route.method);
    if (route.method == "GET") methods.emplace_back("HEAD");
  }
  return joined(methods);
}

Router::Match Router::match(const HttpRequest& request) const {
  auto target = parse_target(request.target);
  if (!target) throw HttpError(400, "the target is not well-formed");
  for (const Route& route : routes_) {
    if (!takes_method(route, request.method)) continue;
    if (auto segments = fit(route, *target)) {
      check_query(route, *target);
      return {&route, std::move(*target), std::move(*segments)};
    }
  }
  const std::string methods = methods_of(*target);
  if (methods.empty()) throw HttpError(404, "there is nothing of this name");
  throw HttpError(405, fmt::format("this takes {}", methods));
}

}  // namespace macadam
