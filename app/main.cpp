#include <csignal>
#include <exception>
#include <new>
#include <string>

#include "app/command_line.h"
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

void run(int argc, char** argv) {
  macadam::CommandLine line("macadam",
                            "Macadam trains semantic-segmentation networks for driving scenes and "
                            "turns photos into masks.",
                            macadam::version());
  macadam::add_synth(line);
  macadam::add_check(line);
  macadam::add_split(line);
  macadam::add_pack(line);
  macadam::add_train(line);
  macadam::add_eval(line);
  macadam::add_predict(line);
  macadam::add_serve(line);
  macadam::add_view(line);
  macadam::add_sweep(line);
  macadam::add_compare(line);
  macadam::add_convert(line);
  macadam::add_info(line);
  if (const auto text = line.run(argc, argv)) macadam::print("{}", macadam::Lines{*text});
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
    run(argc, argv);
    macadam::confirm_results();
    return 0;
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
