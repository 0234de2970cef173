#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <new>
#include <sstream>
#include <string>

#include "app/commands.h"
#include "app/console.h"
#include "app/memory.h"
#include "app/restart.h"
#include "app/streams.h"
#include "base/error.h"
#include "base/version.h"

namespace {

constexpr int kFailed = 1, kWrongInput = 2, kInterrupted = 130;

int report(const std::string& message, int code) {
  macadam::say("macadam: error: " + message);
  return code;
}

int run(int argc, char** argv) {
  CLI::App app(
      "Macadam trains semantic-segmentation networks for driving scenes and turns photos "
      "into masks.",
      "macadam");
  app.require_subcommand(1);
  app.set_version_flag("--version", macadam::version());
  macadam::add_synth(app);
  macadam::add_check(app);
  macadam::add_pack(app);
  macadam::add_train(app);
  macadam::add_eval(app);
  macadam::add_predict(app);
  macadam::add_convert(app);
  macadam::add_info(app);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::Success& done) {  // --help, --version
    std::ostringstream text;
    const int code = app.exit(done, text, text);
    macadam::print("{}", macadam::Lines{text.str()});
    return code;
  } catch (const CLI::ParseError& error) {
    return report(std::string(error.what()) + ": see `macadam --help`", kWrongInput);
  }
}

}  // namespace

int main(int argc, char** argv) {
  macadam::open_missing_streams();
  macadam::restart_with_openmp_settings(argv);
  // A full disk or a closed pipe is answered where the write fails, not by a signal.
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  macadam::keep_freed_memory();
  try {
    const int code = run(argc, argv);
    if (code == 0) macadam::confirm_results();
    return code;
  } catch (const macadam::Interrupted&) {
    return kInterrupted;
  } catch (const macadam::Error& error) {
    return report(error.what(), error.kind() == macadam::ErrorKind::input ? kWrongInput : kFailed);
  } catch (const std::bad_alloc&) {
    return report("not enough memory: this machine: use a smaller batch or size", kFailed);
  } catch (const std::exception& error) {
    return report(error.what(), kFailed);
  }
}
