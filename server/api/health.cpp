// Whether the server lives and is ready, and what it has done: /v2/health, /metrics.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "server/api/api.h"

namespace macadam {

namespace {

void answer_metrics(const ApiContext& context, Call& call) {
  MetricsPage page;
  context.monitor.write(page);
  page.metric("macadam_working_requests", "gauge",
              "Requests for predictions that are not answered yet.");
  page.value({}, static_cast<uint64_t>(std::max(0, context.working())));
  page.metric("macadam_waiting_photos", "gauge", "Photos that wait for the network.");
  page.value({}, static_cast<uint64_t>(context.segmentation.waiting()));
  page.metric("macadam_work_bytes", "gauge", "Memory of photos and masks of requests.");
  page.value({}, static_cast<uint64_t>(context.segmentation.memory().held()));
  page.metric("macadam_ready", "gauge", "1 while new requests are welcome.");
  page.value({}, uint64_t{context.ready() ? 1U : 0U});
  const auto models = context.models.all();
  page.metric("macadam_model_info", "gauge", "The files that are served.");
  for (const auto& model : models) {
    page.value({{"model", model->name()},
                {"version", model->version()},
                {"network", model->info().network},
                {"precision", std::string(model->precision())},
                {"digest", model->digest()}},
               uint64_t{1});
  }
  page.metric("macadam_model_bytes", "gauge", "Memory of a model on its device.");
  for (const auto& model : models) {
    page.value({{"model", model->name()}, {"version", model->version()}},
               static_cast<uint64_t>(model->bytes()));
  }
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = page.text();
  call.answer(std::move(response));
}

}  // namespace

void add_health_routes(Router& router, const ApiContext& context) {
  Route live = get_route("/v2/health/live", "Whether the server runs",
                         [](const std::shared_ptr<Call>& call) {
                           call->answer(json_response({{"live", true}}));
                         });
  live.open = true;
  router.add(std::move(live));

  Route ready = get_route("/v2/health/ready",
                          "Whether all models are loaded and warm, and new requests are welcome: "
                          "503 otherwise",
                          [&context](const std::shared_ptr<Call>& call) {
                            const bool yes = context.ready();
                            call->answer(json_response({{"ready", yes}}, yes ? 200 : 503));
                          });
  ready.open = true;
  router.add(std::move(ready));

  router.add(get_route(
      "/metrics", "Counts and times for Prometheus",
      [&context](const std::shared_ptr<Call>& call) { answer_metrics(context, *call); },
      "text/plain"));
}

}  // namespace macadam
