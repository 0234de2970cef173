#pragma once
// Asks the API: what it answers, or an answer that says why there is none.

#include <functional>

#include "base/http_client.h"
#include "server/http/message.h"

namespace macadam {

class ApiClient {
 public:
  /// Throws InputError as HttpClient does.
  explicit ApiClient(HttpClientOptions options) : client_(std::move(options)) {}

  /// Called once with the API's answer, of which all fields are kept; or 502 when there was none,
  /// 503 when too many wait, 504 when it took too long. On the client's thread: quick; must not
  /// throw.
  using Then = std::function<void(HttpResponse)>;
  void ask(HttpQuestion question, Then then);
  /// What waits is dropped, and answered by its exchange; who asks later is told 502.
  void stop() { client_.stop(); }

 private:
  HttpClient client_;
};

}  // namespace macadam
