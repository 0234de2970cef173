// macadam serve: the inference server.

#include <memory>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "app/service_options.h"
#include "app/streams.h"
#include "server/inference_server.h"
#include "server/service_config.h"

namespace macadam {

namespace {

struct ServeOptions {
  std::vector<std::string> models;
  std::shared_ptr<ServiceOptions> service = std::make_shared<ServiceOptions>();
};

void serve(const ServeOptions& options) {
  const ServiceOptions& given = *options.service;
  if (given.keys) return print("{}", Lines{service_keys_markdown<ServeConfig>()});
  ServeConfig config = load_service_config<ServeConfig>(given.file, given.overrides());
  if (!options.models.empty()) config.models = options.models;
  LogFile log(config.log);
  catch_interrupts();
  InferenceServer server(config, [&log](std::string_view line) { log.write(line); });
  say("macadam serves at " + server.address());
  server.run(interrupted, [] { say("ready: end with Ctrl-C"); });
}

}  // namespace

void add_serve(CommandLine& line) {
  Command command = line.add("serve", "Serve models: photos in, masks out, over HTTP");
  auto options = std::make_shared<ServeOptions>();
  command.option("models", &options->models,
                 "Model files or folders of runs, [NAME[:VERSION]=]PATH; the first answers where "
                 "none is named");
  ServeConfig defaults;
  FieldList fields;
  describe(fields, defaults);
  add_service_options(command, fields, options->service, "models", {{"unix_socket", ",--unix"}});
  command.run([options] { serve(*options); });
}

}  // namespace macadam
