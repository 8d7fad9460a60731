/* drop_guard.h - DROP EXTENSION streamhouse is refused while agents are live. */
#ifndef SH_EXTENSION_DROP_GUARD_H
#define SH_EXTENSION_DROP_GUARD_H

/* Put the check before every command of this process. Called once, when the library is loaded. */
void sh_drop_guard_install(void);

#endif
