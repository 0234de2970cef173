#pragma once
// The viewer's life: a page of its own, and everything else from the API, so that one port is
// public and the API can stay private.

#include <functional>
#include <memory>
#include <string>

#include "server/monitor/monitor.h"
#include "server/view/view_config.h"

namespace macadam {

class Viewer {
 public:
  /// Listens. Throws InputError for addresses and folders that there are not. Whether the API
  /// answers is not asked: the page says so when it does not.
  Viewer(const ViewConfig& config, LogSink log);
  ~Viewer();

  /// "http://127.0.0.1:8081".
  const std::string& address() const;
  /// Serves until `stop` says so, which is asked several times a second; then finishes what was
  /// begun.
  void run(const std::function<bool()>& stop);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace macadam
