#pragma once
// What the API has: each route is described once, for the requests that come, for the answer to
// those that fit none, and for the description that is served at /openapi.json.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/api/call.h"

namespace macadam {

/// A parameter of a route's query.
struct RouteParameter {
  std::string name;
  nlohmann::ordered_json schema;  // of OpenAPI
  std::string description;
};

struct Route {
  std::string method;   // "GET"; HEAD goes with it
  std::string pattern;  // "/v1/images/{id}/mask"
  std::string summary;
  std::vector<RouteParameter> parameters;
  std::vector<std::string> takes;  // media types of the body; empty: it has none
  std::vector<std::string> gives;  // media types of the answer
  bool open = false;               // without a token too
  bool works = false;              // sees photos: counts against the limit of what waits
  std::function<void(std::shared_ptr<Call>)> handle;
};

/// A route of GET without parameters.
Route get_route(std::string pattern, std::string summary,
                std::function<void(std::shared_ptr<Call>)> handle,
                std::string gives = "application/json");

class Router {
 public:
  void add(Route route);
  const std::vector<Route>& routes() const { return routes_; }

  struct Match {
    const Route* route = nullptr;
    Target target;
    std::map<std::string, std::string, std::less<>> segments;
  };
  /// The route of a request. Throws HttpError: 400 for a malformed target, a parameter that the
  /// route does not have or that comes twice, 404, 405.
  Match match(const HttpRequest& request) const;
  /// The methods that the target of the last takes: "GET, HEAD, POST".
  std::string methods_of(const Target& target) const;

 private:
  std::vector<Route> routes_;
};

}  // namespace macadam
