#pragma once
// What `macadam serve` is told: described once, for the command line, a file, and docs/server.md.

#include <string>
#include <vector>

#include "base/fields.h"

namespace macadam {

struct ServeConfig {
  std::vector<std::string> models;  // parse_model_spec()

  std::string host = "127.0.0.1";
  int port = 8080;
  std::string unix_socket;  // its path; empty: none
  std::string gallery;      // a data set; empty: none
  std::string token_file;   // empty: everybody may call
  std::string log;          // a file; empty: standard error

  std::string device = "auto", precision = "auto";
  int replicas = 1, max_batch = 8, threads = 0;
  double max_delay_ms = 0;
  int memory_limit_mb = 0;

  int queue = 64, deadline_ms = 10'000;
  int max_body_mb = 64, work_memory_mb = 2048, answer_memory_mb = 512;
  double max_megapixels = 64;
  int max_windows = 1024;
  int connections = 1024, io_threads = 2;
  double idle_seconds = 60, request_seconds = 30, response_seconds = 60;
  double grace_seconds = 0, drain_seconds = 30;
};

void describe(Fields& fields, ServeConfig& config);

}  // namespace macadam
