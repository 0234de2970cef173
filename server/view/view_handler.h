#pragma once
// What the viewer does with requests: files of the page, runs, and the rest is the API's.

#include <string>
#include <vector>

#include "server/http/http_server.h"
#include "server/monitor/monitor.h"
#include "server/view/api_client.h"
#include "server/view/run_shelf.h"

namespace macadam {

class ViewHandler : public HttpHandler {
 public:
  /// `api`, `monitor` and `runs`, which may be null, outlive it. `names`: is_own_host().
  ViewHandler(ApiClient& api, Monitor& monitor, const RunShelf* runs,
              std::vector<std::string> names)
      : api_(api), monitor_(monitor), runs_(runs), names_(std::move(names)) {}

  std::optional<HttpResponse> refuse(const HttpRequest& head) override;
  void handle(std::shared_ptr<Exchange> exchange) override;
  HttpResponse answer_fault(const RequestFault& fault, const HttpRequest& head) override;

 private:
  /// The answer to a request that is not the API's.
  HttpResponse answer(const HttpRequest& request) const;
  HttpResponse answer_runs(const std::vector<std::string>& path) const;
  void ask_api(const std::shared_ptr<Exchange>& exchange);
  void log(const HttpRequest& request, const HttpResponse& response, std::chrono::nanoseconds time);

  ApiClient& api_;
  Monitor& monitor_;
  const RunShelf* const runs_;
  const std::vector<std::string> names_;
};

}  // namespace macadam
