// What is served: /v1/models, /v1/classes.

#include <nlohmann/json.hpp>

#include "engine/infer/metrics.h"
#include "server/api/api.h"

namespace macadam {

namespace {

using Json = nlohmann::ordered_json;

Json describe(const ServedModel& model) {
  const ModelInfo& info = model.info();
  Json metrics = Json::object();
  for (const auto& [name, value] : info.metrics) metrics[name] = json_number(value);
  return {{"name", model.name()},
          {"version", model.version()},
          {"network", info.network},
          {"label_set", info.label_set},
          {"classes", info.class_names},
          {"height", info.height},
          {"width", info.width},
          {"precision", model.precision()},
          {"max_batch", model.max_batch()},
          {"bytes", model.bytes()},
          {"metrics", std::move(metrics)},
          {"digest", model.digest()}};
}

Json classes_of(const ModelInfo& info) {
  Json classes = Json::array();
  for (size_t c = 0; c < info.class_names.size(); ++c) {
    classes.push_back({{"id", c},
                       {"name", info.class_names[c]},
                       {"color", info.palette.at(c)},
                       {"label", info.inverse_ids.at(c)},
                       {"ignore", false}});
  }
  return classes;
}

}  // namespace

void add_model_routes(Router& router, const ApiContext& context) {
  router.add(get_route("/v1/models",
                       "The models that are served; the first answers where none is named",
                       [&context](const std::shared_ptr<Call>& call) {
                         Json list = Json::array();
                         for (const auto& model : context.models.all()) {
                           list.push_back(describe(*model));
                         }
                         call->answer(json_response({{"models", std::move(list)}}));
                       }));
  Route classes = get_route(
      "/v1/classes", "The classes of a model: number, name, color, and the data set's id for it",
      [&context](const std::shared_ptr<Call>& call) {
        const auto model = model_of(context, call->parameter("model"));
        call->answer(
            json_response({{"model", model->name()}, {"classes", classes_of(model->info())}}));
      });
  classes.parameters = {{"model", Json{{"type", "string"}}, "Another model than the first"}};
  router.add(std::move(classes));
}

}  // namespace macadam
