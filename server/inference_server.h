#pragma once
// The server's life: it listens, loads its models, serves, and leaves in order.

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "server/monitor/monitor.h"
#include "server/serve_config.h"

namespace macadam {

class InferenceServer {
 public:
  /// Listens, so that the server can be asked whether it is ready. Throws InputError for models,
  /// devices, galleries and addresses that there are not.
  InferenceServer(const ServeConfig& config, LogSink log);
  ~InferenceServer();

  /// "http://127.0.0.1:8080", or the path of the socket.
  const std::string& address() const;
  /// Loads the models and serves until `stop` says so, which is asked several times a second; then
  /// finishes what was begun. `ready` is called once when all models are warm. Throws InputError
  /// when a model cannot be loaded.
  void run(const std::function<bool()>& stop, const std::function<void()>& ready);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace macadam
