// macadam view: the viewer's web page.

#include <memory>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "app/service_options.h"
#include "app/streams.h"
#include "server/service_config.h"
#include "server/view/viewer.h"

namespace macadam {

namespace {

void view(const ServiceOptions& given) {
  if (given.keys) return print("{}", Lines{service_keys_markdown<ViewConfig>()});
  const auto config = load_service_config<ViewConfig>(given.file, given.overrides());
  LogFile log(config.log);
  catch_interrupts();
  Viewer viewer(config, [&log](std::string_view line) { log.write(line); });
  say("macadam shows " + config.api + " at " + viewer.address() + ": end with Ctrl-C");
  viewer.run(interrupted);
}

}  // namespace

void add_view(CommandLine& line) {
  Command command = line.add("view", "Show photos, masks and runs on a web page");
  auto options = std::make_shared<ServiceOptions>();
  ViewConfig defaults;
  FieldList fields;
  describe(fields, defaults);
  add_service_options(command, fields, options, "", {});
  command.run([options] { view(*options); });
}

}  // namespace macadam
