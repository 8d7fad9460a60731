#include "agent/store/store_internal.h"

ShStatus sh_s3_store_open(const ShConfig *config, ShStore **out, ShError *err)
{
    (void)out;
    return sh_fail(err, SH_UNSUPPORTED, "the S3 store for bucket %s is not in this build", config->s3_bucket);
}
