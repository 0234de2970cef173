#pragma once
// What `macadam view` is told: described once, for the command line, a file, and docs/viewer.md.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/fields.h"

namespace macadam {

struct ViewConfig {
  std::string api = "http://127.0.0.1:8080";  // HttpClientOptions::address
  std::string token_file;                     // of the API; empty: none
  std::string runs;                           // a folder of training runs; empty: none

  std::string host = "127.0.0.1";
  int port = 8081;
  std::vector<std::string> names;  // is_own_host()
  std::string log;                 // a file; empty: standard error

  int max_body_mb = 64, connections = 1024;
  double connect_seconds = 3, answer_seconds = 120, drain_seconds = 10;
};

void describe(Fields& fields, ViewConfig& config);

}  // namespace macadam
