#pragma once
// The subcommands, one a file. Each adds itself to the command line; its callback runs it and
// leaves by an exception when something is wrong (main turns it into one line and an exit code).

namespace CLI {
class App;
}

namespace macadam {

void add_synth(CLI::App& app);
void add_check(CLI::App& app);
void add_pack(CLI::App& app);
void add_train(CLI::App& app);
void add_eval(CLI::App& app);
void add_predict(CLI::App& app);
void add_convert(CLI::App& app);
void add_info(CLI::App& app);

}  // namespace macadam
