// The description of the API, made of its routes: OpenAPI 3.1.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/version.h"
#include "server/api/api.h"

namespace macadam {

namespace {

using Json = nlohmann::ordered_json;

Json content_of(const std::vector<std::string>& types) {
  Json content = Json::object();
  for (const std::string& type : types) {
    const bool binary = type.starts_with("image/") || type == "application/octet-stream" ||
                        type.starts_with("multipart/");
    content[type] = {{"schema", type == "application/json" ? Json{{"type", "object"}}
                                : binary                   ? Json::object()
                                                           : Json{{"type", "string"}}}};
  }
  return content;
}

/// The names in braces of a pattern.
std::vector<std::string> names_in(std::string_view pattern) {
  std::vector<std::string> names;
  for (size_t open = pattern.find('{'); open != std::string_view::npos; open = pattern.find('{')) {
    const size_t close = pattern.find('}', open);
    names.emplace_back(pattern.substr(open + 1, close - open - 1));
    pattern.remove_prefix(close + 1);
  }
  return names;
}

Json operation_of(const Route& route) {
  Json parameters = Json::array();
  for (const std::string& name : names_in(route.pattern)) {
    parameters.push_back(
        {{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
  }
  for (const RouteParameter& parameter : route.parameters) {
    parameters.push_back({{"name", parameter.name},
                          {"in", "query"},
                          {"description", parameter.description},
                          {"schema", parameter.schema}});
  }
  Json operation{{"summary", route.summary}};
  if (!parameters.empty()) operation["parameters"] = std::move(parameters);
  if (!route.takes.empty()) {
    operation["requestBody"] = {{"required", true}, {"content", content_of(route.takes)}};
  }
  const Json error{
      {"description", "What is wrong"},
      {"content", {{"application/json", {{"schema", {{"$ref", "#/components/schemas/Error"}}}}}}}};
  operation["responses"] = {
      {"200", {{"description", "The answer"}, {"content", content_of(route.gives)}}},
      {"default", error}};
  if (route.open) operation["security"] = Json::array();
  return operation;
}

}  // namespace

void add_openapi_route(Router& router, const ApiContext& context) {
  router.add(
      get_route("/openapi.json", "This description", [&context](const std::shared_ptr<Call>& call) {
        Json paths = Json::object();
        for (const Route& each : context.router.routes()) {
          std::string method = each.method;
          std::ranges::transform(method, method.begin(), [](char c) { return c | 0x20; });
          paths[each.pattern][method] = operation_of(each);
        }
        Json page{
            {"openapi", "3.1.0"},
            {"info",
             {{"title", "Macadam"},
              {"version", version()},
              {"description", "Semantic segmentation of driving scenes: photos in, masks out."}}},
            {"paths", std::move(paths)},
            {"components",
             {{"schemas",
               {{"Error",
                 {{"type", "object"},
                  {"required", {"error"}},
                  {"properties", {{"error", {{"type", "string"}}}}}}}}},
              {"securitySchemes", {{"token", {{"type", "http"}, {"scheme", "bearer"}}}}}}}};
        if (!context.options.token.empty()) page["security"] = {{{"token", Json::array()}}};
        call->answer(json_response(page));
      }));
}

}  // namespace macadam
