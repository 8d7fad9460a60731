/* drop_guard.h - DROP EXTENSION streamhouse is refused while agents are live, and waits for the workers'
 * steps. */
#ifndef SH_EXTENSION_DROP_GUARD_H
#define SH_EXTENSION_DROP_GUARD_H

/* Put the check before every command of this process. Called once, when the library is loaded. */
void sh_drop_guard_install(void);

/* Keep DROP EXTENSION streamhouse in this database waiting until the transaction ends; false when one is
 * under way. */
bool sh_drop_hold_off(void);

#endif
